package bundle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// complaints become one error with a line for each.
type complaints []string

// maxComplaints are told; more only hide the first.
const maxComplaints = 10

func (c *complaints) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

func (c complaints) err() error {
	if len(c) == 0 {
		return nil
	}
	if n := len(c) - maxComplaints; n > 0 {
		c = append(slices.Clone(c[:maxComplaints]), fmt.Sprintf("and %d more", n))
	}
	return errors.New(strings.Join(c, "\n"))
}

// A contract is what the routes of a system give its rules to read: input.call.x
// for each field and input.facts.x for each fact that some route maps.
type contract struct{ fields, facts map[string]bool }

func contractOf(routes *call.Table, system string) contract {
	// Every call has these.
	c := contract{map[string]bool{"system": true, "operation": true}, map[string]bool{}}
	for _, r := range routes.Routes() {
		if r.System != system {
			continue
		}
		for _, field := range r.Fields {
			c.fields[field.Name] = true
		}
		for _, fact := range r.Facts {
			c.facts[fact] = true
		}
	}
	return c
}

// checkMapped refuses rules that read what no route of their system maps. It would
// always be absent, and a rule that denies because of it would deny nothing.
func checkMapped(rules *policy.Policy, routes *call.Table) error {
	var found complaints
	for _, system := range routes.Systems() {
		refs, err := rules.InputRefs(system)
		if err != nil {
			return err
		}
		c := contractOf(routes, system)
		for _, ref := range refs {
			mapped, kind := c.fields, "field"
			if ref.Part == "facts" {
				mapped, kind = c.facts, "fact"
			}
			if !mapped[ref.Name] {
				found.add("%s:%d: input.%s.%s is read for the system %s, but no route of systems/%s/routes.yaml has the %s %s: map it there, or do not read it",
					ref.File, ref.Line, ref.Part, ref.Name, system, system, kind, ref.Name)
			}
		}
	}
	return found.err()
}

// checkClosed takes the inputs that tests ask about and that are allowed, and
// wants that none is allowed any more with a member of the call, the identity or
// the facts, at any depth, removed or null. Every system must have such an input.
// mayBeAbsent tells which fields a call may come without.
//
// What decides here is the policy itself, as it will decide calls, not a test.
func checkClosed(ctx context.Context, rules *policy.Policy, systems []string, inputs []policy.TestInput,
	mayBeAbsent func(system, operation, field string) bool,
) error {
	var found complaints
	seen, open := map[string]bool{}, map[string]bool{}
	for _, in := range inputs {
		system := in.Input.Text("call", "system")
		if !slices.Contains(systems, system) {
			continue // a system that only tests know
		}
		allowed, err := allows(ctx, rules, in.Input)
		if err != nil {
			return fmt.Errorf("%s: the decision on its input: %w", in.Test, err)
		}
		if !allowed {
			continue
		}
		seen[system] = true
		for _, path := range in.Input.Paths() {
			name := path.String()
			part, field, isBelow := strings.Cut(name, ".")
			isOptional := part == "call" && mayBeAbsent(system, in.Input.Text("call", "operation"), field)
			if !isBelow || isOptional || open[system+" "+name] {
				continue
			}
			how, err := stillAllowed(ctx, rules, in.Input, path)
			if err != nil {
				return fmt.Errorf("%s: the decision on its input without input.%s: %w", in.Test, name, err)
			}
			if how != "" {
				open[system+" "+name] = true
				found.add("systems/%s: input.%s is not needed: what the test %s allows is still allowed with it %s. Let permit want it, or leave it out of what tests allow",
					system, name, in.Test, how)
			}
		}
	}
	for _, system := range systems {
		if !seen[system] {
			found.add("systems/%s: no test has an input that data.payments.decision allows: write one, its input is what the policy is checked with", system)
		}
	}
	return found.err()
}

// stillAllowed tells with what change at path the input is allowed, "" for none.
func stillAllowed(ctx context.Context, rules *policy.Policy, input policy.Value, path policy.Path) (how string, _ error) {
	for _, c := range []struct {
		how  string
		bent policy.Value
	}{{"removed", input.Without(path)}, {"null", input.WithNull(path)}} {
		if allowed, err := allows(ctx, rules, c.bent); allowed || err != nil {
			return c.how, err
		}
	}
	return "", nil
}

// allows asks the policy. A defect is not an allow. No answer in time is an error:
// it would prove nothing.
func allows(ctx context.Context, rules *policy.Policy, input policy.Value) (bool, error) {
	d, err := rules.Decide(ctx, input)
	if errors.Is(err, policy.ErrDefect) {
		return false, nil
	}
	return d.Allow, err
}
