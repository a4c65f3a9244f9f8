package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
)

// listener asks for the address that a listener has got.
func (e *Envoy) listener(ctx context.Context, name string) (string, error) {
	body, err := e.Admin(ctx, "/listeners?format=json")
	if err != nil {
		return "", err
	}
	var page struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    uint16 `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", fmt.Errorf("envoy: listeners: %w", err)
	}
	for _, l := range page.Statuses {
		if l.Name == name && l.Local.Socket.Port != 0 {
			return net.JoinHostPort(l.Local.Socket.Address, strconv.Itoa(int(l.Local.Socket.Port))), nil
		}
	}
	return "", fmt.Errorf("envoy: listener %s has no port yet", name)
}

// Stat returns a counter or gauge by its full name, such as
// "cluster.payments.upstream_rq_total". A name that Envoy does not know is an
// error; some appear only once they count.
func (e *Envoy) Stat(ctx context.Context, name string) (uint64, error) {
	body, err := e.Admin(ctx, "/stats?format=json&filter="+url.QueryEscape("^"+regexp.QuoteMeta(name)+"$"))
	if err != nil {
		return 0, err
	}
	var page struct {
		Stats []struct {
			Name  string  `json:"name"`
			Value *uint64 `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return 0, fmt.Errorf("envoy: stats: %w", err)
	}
	for _, s := range page.Stats {
		if s.Name == name && s.Value != nil {
			return *s.Value, nil
		}
	}
	return 0, fmt.Errorf("envoy: no counter or gauge %s", name)
}

// AwaitSidecar returns when Envoy's health check of the sidecar says what is
// wanted: true for healthy. It is checked once a second.
func (e *Envoy) AwaitSidecar(ctx context.Context, healthy bool) error {
	want := uint64(0)
	if healthy {
		want = 1
	}
	return e.await(ctx, func() error {
		got, err := e.Stat(ctx, "cluster.countersign.membership_healthy")
		if err == nil && got != want {
			err = fmt.Errorf("envoy: %d healthy sidecars, want %d", got, want)
		}
		return err
	})
}
