package terminal

import (
	"net/http"
	"net/http/httputil"
	"strings"
)

// forwarded are the headers of a page's call that Envoy gets. A browser adds others,
// which tell where the call comes from and are nobody's business there.
var forwarded = []string{"Accept", "Authorization", "Content-Type", "Idempotency-Key", "Last-Event-Id"}

// maxForwardedBytes bounds the body of a call; Envoy takes no more.
const maxForwardedBytes = 64 << 10

// forward sends /envoy/PATH to Envoy as /PATH, under Envoy's name, and passes on what
// comes back as it comes.
func (s *server) forward() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:       s.rewrite,
		FlushInterval: -1, // at once: a stream of messages has no end
		ModifyResponse: func(resp *http.Response) error {
			for _, ours := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "Set-Cookie"} {
				resp.Header.Del(ours)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.Log.WarnContext(r.Context(), "a call does not reach Envoy", "error", err)
			refuse(w, http.StatusBadGateway, "envoy_unreachable", "Envoy does not answer. Is the demo still running?")
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForwardedBytes)
		proxy.ServeHTTP(w, r)
	})
}

func (s *server) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host = s.Envoy.Scheme, s.Envoy.Host
	p.Out.Host = s.Envoy.Host
	p.Out.URL.Path = strings.TrimPrefix(p.In.URL.Path, "/envoy")
	p.Out.URL.RawPath = strings.TrimPrefix(p.In.URL.RawPath, "/envoy") // as it was spelled
	p.Out.Header = http.Header{}
	for _, name := range forwarded {
		if values := p.In.Header.Values(name); len(values) > 0 {
			p.Out.Header[name] = values
		}
	}
	p.Out.Header.Set("User-Agent", "countersign-demo-pages")
}
