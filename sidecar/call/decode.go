package call

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
)

// ErrNoPersonalKey is no fault of the request.
var ErrNoPersonalKey = errors.New("call: no key of 32 bytes for personal fields")

// Decode turns a request into a call. The error is a *Refusal, unless keys lacks
// one that the table needs.
func (t *Table) Decode(req Request, keys Keys) (Call, error) {
	path, query, hasQuery := strings.Cut(req.Path, "?")
	segments, err := splitPath(path)
	if err != nil {
		return Call{}, err
	}
	if strings.Contains(req.Authority, ",") {
		return Call{}, errAuthority
	}
	route := t.find(req.Method, req.Authority, segments)
	switch {
	case route == nil:
		return Call{}, errNoRoute
	case hasQuery && len(route.query) == 0:
		return Call{}, errQuery
	}
	p := parts{route: route, segments: segments}
	headers, err := route.readHeaders(req.Headers)
	if err != nil {
		return Call{}, err
	}
	p.headers = headers.named
	var source *IdentitySource
	if p.identity, source, err = route.readIdentity(req); err != nil {
		return Call{}, err
	}
	if source.Source == sourceJWT {
		p.expires, p.amr = readExpiry(req.Claims["exp"]), readAMR(req.Claims["amr"])
	}
	if hasQuery {
		if p.query, err = readParams(query, queryParams, route.query); err != nil {
			return Call{}, err
		}
	}
	if err := p.readBody(headers, req.Body); err != nil {
		return Call{}, err
	}
	c, err := p.call(keys)
	if err != nil {
		return Call{}, err
	}
	return c, nil
}

// call reads the fields of a request that was taken apart.
func (p *parts) call(keys Keys) (c Call, err error) {
	r := p.route
	c = Call{Route: r, Identity: p.identity, ExpiresAtNanos: p.expires, Fields: make([]Value, len(r.Fields)), Secrets: make([]string, len(r.Secrets))}
	if c.IdempotencyKey, err = p.idempotencyKey(); err != nil {
		return Call{}, err
	}
	currency := ""
	if i := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Type == Currency }); i >= 0 {
		v, err := r.Fields[i].read(p, "")
		if err != nil {
			return Call{}, err
		}
		currency = v.Text
	}
	for i, f := range r.Fields {
		if c.Fields[i], err = f.read(p, currency); err != nil {
			return Call{}, err
		}
		if f.Personal && !c.Fields[i].Absent {
			if len(keys.Personal) != sha256.Size {
				return Call{}, ErrNoPersonalKey
			}
			c.Fields[i].Text = personalToken(keys.Personal, f.Name, c.Fields[i].Text)
		}
	}
	for i, s := range r.Secrets {
		v, err := Field{Name: s.Name, Optional: s.Optional, at: s.at}.read(p, "")
		if err != nil {
			return Call{}, err
		}
		c.Secrets[i] = v.Text
	}
	return c, nil
}
