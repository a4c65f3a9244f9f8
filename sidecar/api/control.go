package api

import (
	"context"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// Bounds of a request. Whoever calls is a program of the operator's.
const (
	maxBodyBytes   = 64 << 10
	maxHeaderBytes = 16 << 10
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	storeTimeout   = 20 * time.Second // so that who waits for the store still gets an answer
	idleTimeout    = 2 * time.Minute
)

// ControlConfig is what a Control needs.
type ControlConfig struct {
	// Store that it shows and changes. It is needed.
	Store *authzstore.Store
	// Now is the time that changes happen at and tokens expire by; an error where
	// nobody can say. It is needed.
	Now func() (time.Time, error)
	// MaxInFlight bounds the calls that are being answered, and apart from them those
	// that stop something. Zero means DefaultControlInFlight.
	MaxInFlight int
	// Log receives what went wrong, and no values of a call. Nil means
	// slog.Default.
	Log *slog.Logger
}

// DefaultControlInFlight is more than a few backends have to say at once, and less
// than hurts: a page of records is some megabytes.
const DefaultControlInFlight = 64

// Control is the control API.
type Control struct {
	ControlConfig
	mux *http.ServeMux
	api huma.API
	// A call takes a place for as long as it is answered, its body being read among
	// it. Those that stop something have their own: whoever floods the API with others
	// does not keep a freeze out.
	places, stopPlaces chan struct{}
}

// huma is configured by package variables. Nothing else here uses it.
func init() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.NewError = newError
}

// NewControl returns the control API.
func NewControl(cfg ControlConfig) *Control {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.MaxInFlight < 1 {
		cfg.MaxInFlight = DefaultControlInFlight
	}
	c := &Control{
		ControlConfig: cfg, mux: http.NewServeMux(),
		places: make(chan struct{}, cfg.MaxInFlight), stopPlaces: make(chan struct{}, cfg.MaxInFlight),
	}
	c.api = humago.New(c.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Countersign control API",
				Version:     "1",
				Description: "For backends and operators. docs/control.md introduces it.",
			},
			Components: &huma.Components{
				Schemas: newSchemas(),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "cst_…, the secret of a token that create-token made"},
				},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats: map[string]huma.Format{
			"application/json": jsonFormat,
			"json":             jsonFormat, // of application/problem+json
		},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	})
	c.api.UseMiddleware(c.authorize, c.admit)
	c.registerStore()
	c.registerAccounts()
	c.registerTerminals()
	c.registerMerchants()
	c.registerGrants()
	c.registerIntents()
	c.registerChallenges()
	c.registerMessages()
	c.registerReservations()
	c.registerRecords()
	c.registerTokens()
	return c
}

// OpenAPI is the API's description, OpenAPI 3.1 in YAML.
func (c *Control) OpenAPI() ([]byte, error) { return c.api.OpenAPI().YAML() }

// Server returns a server of the API.
func (c *Control) Server() *http.Server {
	return &http.Server{
		Handler:        c,
		ReadTimeout:    requestTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
	}
}

// register adds an operation of the table.
func register[I, O any](c *Control, id string, handle func(context.Context, *I) (*O, error)) {
	o, ok := operation(id)
	if !ok {
		panic("api: no operation " + id) // whoever adds one decides who may
	}
	noun := strings.Split(o.Path, "/")[2]
	huma.Register(c.api, huma.Operation{
		OperationID:  o.ID,
		Method:       o.Method,
		Path:         o.Path,
		Summary:      o.Says,
		Description:  "For the roles " + strings.Join(append(strings.Fields(o.For), string(Admin)), ", ") + ".",
		Tags:         []string{noun},
		MaxBodyBytes: maxBodyBytes + 1, // huma refuses a body of exactly as many
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err == nil {
			return out, nil
		}
		if p := asProblem(err); p != nil {
			return nil, p
		}
		// The caller learns no more; an operator finds it in the log.
		c.Log.ErrorContext(ctx, "a control call failed", "operation", o.ID, "error", err)
		return nil, problem(http.StatusServiceUnavailable, "store_unavailable", "The store cannot answer now. The change may have been made: look.")
	})
}

// ServeHTTP answers one request. What comes before huma is what huma leaves open.
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer answerPanic(w, c.Log)
	w.Header().Set("cache-control", "no-store")
	w.Header().Set("x-content-type-options", "nosniff")
	if p := checkRequest(r); p != nil {
		p.write(w)
		return
	}
	if handler, pattern := c.mux.Handler(r); pattern == "" {
		unmatched(w, handler, r)
		return
	}
	ctx, p := c.authenticate(r)
	if p != nil {
		w.Header().Set("www-authenticate", `Bearer realm="countersign control"`)
		p.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c.mux.ServeHTTP(w, r.WithContext(ctx))
}

var errOverloaded = problem(http.StatusServiceUnavailable, "overloaded", "Too many calls are being answered. Try again: nothing was done.")

// admit lets a call through that there is a place for.
func (c *Control) admit(ctx huma.Context, next func(huma.Context)) {
	places := c.places
	if o, _ := operation(ctx.Operation().OperationID); o.Stops() {
		places = c.stopPlaces
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
		next(ctx)
	default:
		_, w := humago.Unwrap(ctx)
		w.Header().Set("retry-after", "1")
		errOverloaded.write(w)
	}
}

// checkRequest refuses what two programs could read differently.
func checkRequest(r *http.Request) *Problem {
	if r.URL.RawPath != "" || path.Clean(r.URL.Path) != r.URL.Path {
		return problem(http.StatusNotFound, "not_found", "There is nothing by that path: it is not canonical.")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem(http.StatusBadRequest, "request_malformed", "The query cannot be read.")
	}
	for _, values := range query {
		if len(values) > 1 {
			return problem(http.StatusBadRequest, "request_malformed", "A query parameter is there twice.")
		}
	}
	if r.Header.Get("content-encoding") != "" {
		return problem(http.StatusUnsupportedMediaType, "media_type", "A body must not be encoded.")
	}
	if r.ContentLength == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("content-type"))
	charset, hasCharset := params["charset"]
	if err != nil || kind != "application/json" || len(r.Header.Values("content-type")) != 1 || hasCharset && !strings.EqualFold(charset, "utf-8") {
		return problem(http.StatusUnsupportedMediaType, "media_type", "A body must be application/json.")
	}
	return nil
}

// unmatched answers what a mux does not know, by what the handler that it has for
// that would say: it knows which methods a path has.
func unmatched(w http.ResponseWriter, handler http.Handler, r *http.Request) {
	said := sink{header: http.Header{}}
	handler.ServeHTTP(&said, r)
	if allow := said.header.Get("allow"); said.status == http.StatusMethodNotAllowed {
		w.Header().Set("allow", allow)
		problem(http.StatusMethodNotAllowed, "method_not_allowed", "By this path there are only the methods "+allow+".").write(w)
		return
	}
	problem(http.StatusNotFound, "not_found", "There is nothing by that path.").write(w)
}

// sink keeps the status and headers of an answer.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header            { return s.header }
func (s *sink) Write(text []byte) (int, error) { return len(text), nil }
func (s *sink) WriteHeader(status int)         { s.status = status }

// change makes a change that its record has the caller as the actor of.
func (c *Control) change(ctx context.Context, refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	now, err := c.now()
	if err != nil {
		return err
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: caller(ctx).actor(), NowNanos: now.UnixNano()}
	return c.Store.Update(ctx, cause, refs, fn)
}

var errClock = problem(http.StatusServiceUnavailable, "clock_jumped", "The clock is not to be trusted until an operator accepts it (countersign clock).")

// now is the time, or the answer while nobody can say.
func (c *Control) now() (time.Time, error) {
	now, err := c.Now()
	if err != nil {
		return time.Time{}, errClock
	}
	return now, nil
}
