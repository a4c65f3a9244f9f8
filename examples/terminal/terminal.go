package terminal

import (
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign/examples/issuer"
)

// Config is what the pages need. All of it is needed but Log.
type Config struct {
	// Envoy is where calls go, such as http://127.0.0.1:10000. Its path is not looked at.
	Envoy *url.URL
	// Issuer signs the tokens of personas.
	Issuer *issuer.Issuer
	// Personas are whom a page can play. Names are different.
	Personas []Persona
	// Log receives what went wrong, and no tokens, codes or bodies. Nil means
	// slog.Default.
	Log *slog.Logger
}

// A Persona is a device, and who holds it.
type Persona struct {
	// Name is in addresses: phone.html?persona=NAME.
	Name string `json:"name"`
	// Title is for people, such as "Anna's phone".
	Title string `json:"title"`
	// Pages are those that offer it: phone, computer, agent, till.
	Pages []string `json:"pages"`
	// Device is the subject of its tokens where it calls as a terminal, an agent or a
	// merchant. Which of them it is, the route says. Empty: it does not.
	Device string `json:"-"`
	// User is the subject where it calls for the person who holds it, an owner or a
	// delegate. Empty: it does not.
	User string `json:"-"`
	// Account is the holder's, acc_…; Payee whom a page pays or charges for, unless a
	// person says otherwise; Currency the account's. They may be empty.
	Account  string `json:"account,omitempty"`
	Payee    string `json:"payee,omitempty"`
	Currency string `json:"currency,omitempty"`
	// Claims are added to its tokens, such as amr.
	Claims map[string]any `json:"-"`
}

// tokenLife is how long a token is good: a page asks for one for each call, and for
// each stream of messages, which ends with it.
const tokenLife = 15 * time.Minute

// contentPolicy lets a page load what this handler serves and nothing else. Pictures are also
// made by the page (canvas) or come within an answer.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed static
var static embed.FS

// A server is the handler.
type server struct {
	Config
	byName map[string]Persona
}

// New returns the handler of the pages (GET /), of tokens (POST /token), of pictures
// (POST /decode) and of calls to Envoy (/envoy/…). Streams of messages go through it,
// so its http.Server must not have a WriteTimeout.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &server{Config: cfg, byName: map[string]Persona{}}
	for _, p := range cfg.Personas {
		s.byName[p.Name] = p
	}
	pages, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the name is a constant
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.FileServerFS(pages))
	mux.Handle("GET /{file}", http.FileServerFS(pages))
	mux.Handle("GET /personas", fromPages(http.HandlerFunc(s.personas)))
	mux.Handle("POST /token", fromPages(http.HandlerFunc(s.token)))
	mux.Handle("POST /decode", fromPages(newDecoder()))
	mux.Handle("/envoy/", fromPages(s.forward()))
	return onLoopback(secured(mux))
}

// secured sets what holds for every answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy":      contentPolicy,
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           "camera=(self)",
			"Cache-Control":                "no-store",
		} {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

// A shownPersona is what a page is told of one.
type shownPersona struct {
	Persona
	CallsAs []string `json:"calls_as"` // what it gets tokens for: device, user
}

func (s *server) personas(w http.ResponseWriter, _ *http.Request) {
	shown := []shownPersona{}
	for _, p := range s.Personas {
		as := []string{}
		if p.Device != "" {
			as = append(as, "device")
		}
		if p.User != "" {
			as = append(as, "user")
		}
		shown = append(shown, shownPersona{p, as})
	}
	reply(w, http.StatusOK, shown)
}

// maxTokenRequestBytes bounds the body of POST /token.
const maxTokenRequestBytes = 1 << 10

// A tokenRequest says for whom a token is: the persona as a device or as a user.
type tokenRequest struct {
	Persona string `json:"persona"`
	As      string `json:"as"` // device or user
}

// A tokenAnswer is a token, and what it is worth.
type tokenAnswer struct {
	Token  string `json:"token"`
	Notice string `json:"notice"`
}

// token hands out a token for a persona to whoever asks.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	var asked tokenRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTokenRequestBytes))
	body.DisallowUnknownFields()
	if err := body.Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "request_invalid", "A token is asked for with a persona, and as device or user.")
		return
	}
	persona := s.byName[asked.Persona]
	subject := ""
	switch asked.As {
	case "device":
		subject = persona.Device
	case "user":
		subject = persona.User
	}
	if subject == "" {
		refuse(w, http.StatusNotFound, "persona_unknown", "There is no such persona, or it does not call that way.")
		return
	}
	token, err := s.Issuer.Token(subject, tokenLife, persona.Claims)
	if err != nil {
		s.Log.ErrorContext(r.Context(), "a token cannot be signed", "persona", asked.Persona, "error", err)
		refuse(w, http.StatusInternalServerError, "internal_error", "The token cannot be signed.")
		return
	}
	reply(w, http.StatusOK, tokenAnswer{token, "For the demo on this machine. It was given without a login."})
}

// A problem is why a call was refused here, in the form of the sidecar's (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{http.StatusText(status), status, code, detail}) // who asked may be gone
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
