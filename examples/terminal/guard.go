package terminal

import (
	"net"
	"net/http"
	"net/netip"
)

// onLoopback refuses requests by any other name than one of this machine's loopback:
// the page of a site whose name was made to lead here (DNS rebinding) says its own.
func onLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			refuse(w, http.StatusForbidden, "host_not_loopback", "These pages are for this machine: open them at 127.0.0.1 or localhost.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback tells whether a Host header names the loopback, whatever the port.
func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(trimBrackets(name))
	return err == nil && addr.Zone() == "" && addr.IsLoopback()
}

func trimBrackets(name string) string {
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		return name[1 : n-1]
	}
	return name
}

// fromPages lets through what our own pages ask for. A browser says where a request
// comes from, in Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata) or at least in
// Origin; what says neither comes from no page.
func fromPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !sameOrigin(r) {
			refuse(w, http.StatusForbidden, "cross_origin", "Only these pages themselves may ask for this.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func sameOrigin(r *http.Request) bool {
	sites, origins := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	if len(sites) > 1 || len(origins) > 1 || len(sites)+len(origins) == 0 {
		return false
	}
	if len(sites) == 1 && sites[0] != "same-origin" {
		return false
	}
	return len(origins) == 0 || origins[0] == "http://"+r.Host
}
