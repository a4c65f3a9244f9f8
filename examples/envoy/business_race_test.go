package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// Two agents at once: one executes, and the other's limit is untouched.
func TestTwoAgentsAtOnce(t *testing.T) {
	const rounds = 8
	f := newBusinesses(t, make([]businessCase, rounds))
	for i := range rounds {
		b := businessOf(i)
		anew(t, f, b)
		path := "/v1/business/" + b.id + "/execute"
		got := f.race(t, []racer{
			{b.desk, path, map[string]any{"account": "acc_" + b.desk, "amount_minor": b.amount}},
			{b.shop, path, map[string]any{"account": "acc_" + b.shop, "amount_minor": b.amount}},
		})
		if got[http.StatusOK] != 1 || got[http.StatusForbidden] != 1 {
			t.Errorf("statuses %v", got)
		}
		desk, deskCount := f.spent(t, "acc_"+b.desk)
		shop, shopCount := f.spent(t, "acc_"+b.shop)
		if desk+shop != b.amount || deskCount+shopCount != 1 {
			t.Errorf("the desk has spent %d in %d payments, the shop %d in %d", desk, deskCount, shop, shopCount)
		}
	}
}

// 64 agents race for every request of many: each is executed once, and an agent has
// spent what it executed and nothing else.
func TestManyAgentsManyBusinesses(t *testing.T) {
	const each = 5                       // requests of one account that wait at the same time
	users := 10 * min(kvtest.Soak(), 20) // at most a thousand requests
	var accounts []authzstore.Account
	var terminals []authzstore.Terminal
	for i := range users {
		b := businessOf(i)
		accounts = append(accounts, accountOf(b.user, user(b.anna())))
		terminals = append(terminals, terminalOf(b.user, b.phone, "+1"))
	}
	for i := range atOnce {
		a := accountOf(fmt.Sprintf("acc_desk%d", i), agentIdentity(fmt.Sprintf("desk%d", i)))
		a.Limits = []authzstore.Limit{{Name: "day", MaxAmountMinor: 1 << 40, Period: calendar(authzstore.Day)}}
		accounts = append(accounts, a)
	}
	f := newFamily(t, nil, accounts, terminals...)
	var ids []string
	for i := range users {
		for range each {
			b := businessOf(i)
			if resp := anew(t, f, b); resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
			}
			ids = append(ids, b.id)
		}
	}
	before := len(paid())
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(users)*patience)
	defer cancel()
	wins := make([]int64, atOnce)
	var wait sync.WaitGroup
	for i := range atOnce {
		wait.Go(func() {
			var err error
			if wins[i], err = f.executeAll(ctx, fmt.Sprintf("desk%d", i), ids); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	var all int64
	for i, won := range wins {
		all += won
		if minor, payments := f.spent(t, fmt.Sprintf("acc_desk%d", i)); minor != 5000*won || payments != won {
			t.Errorf("desk%d has executed %d, and spent %d in %d payments", i, won, minor, payments)
		}
	}
	executed := map[string]int{}
	for _, call := range paid()[before:] {
		executed[call.Header.Get("Countersign-Intent-Id")]++
	}
	for _, id := range ids {
		if executed[id] != 1 {
			t.Errorf("%s was executed %d times", id, executed[id])
		}
	}
	if all != int64(len(ids)) || len(paid())-before != len(ids) {
		t.Errorf("%d executed, and %d reached the payment service, want %d", all, len(paid())-before, len(ids))
	}
}

// executeAll has one agent try every request, each stream in an order of its own over
// one connection, and returns how many it executed. A try that was not decided, because
// the machine is busy, is repeated under its key.
func (f *family) executeAll(ctx context.Context, agent string, ids []string) (won int64, err error) {
	token, err := provider.Token(agent, 24*time.Hour, nil)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(map[string]any{"account": "acc_" + agent, "amount_minor": 5000})
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	for _, i := range rand.Perm(len(ids)) {
		for status := http.StatusServiceUnavailable; status == http.StatusServiceUnavailable; {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.edge.URL()+"/v1/business/"+ids[i]+"/execute", bytes.NewReader(body))
			if err != nil {
				return won, err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Idempotency-Key", ids[i])
			resp, err := answered(&client, req)
			if err != nil {
				return won, err
			}
			switch status = resp.StatusCode; status {
			case http.StatusOK:
				won++
			case http.StatusForbidden, http.StatusServiceUnavailable:
			default:
				return won, fmt.Errorf("%s: status %d, %s", agent, status, resp.body)
			}
		}
	}
	return won, nil
}
