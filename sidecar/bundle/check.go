package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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
		for _, name := range r.FactsRead() {
			c.facts[name] = true
		}
	}
	return c
}

// brings says by what a route has a fact that it does not name.
var brings = map[string]string{"initiator": "challenge: write, which brings it"}

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
					ref.File, ref.Line, ref.Part, ref.Name, system, system, kind, cmp.Or(brings[ref.Name], ref.Name))
			}
		}
	}
	return found.err()
}

// An operation of a system, and what its calls always have.
type operation struct {
	system, name string
	fields       []string // those that each route of it maps, and not as optional
}

func operationsOf(routes *call.Table) []*operation {
	var all []*operation
	for _, r := range routes.Routes() {
		mapped := []string{"system", "operation"}
		for _, field := range r.Fields {
			if !field.Optional {
				mapped = append(mapped, field.Name)
			}
		}
		if op := find(all, r.System, r.Operation); op != nil {
			op.fields = slices.DeleteFunc(op.fields, func(f string) bool { return !slices.Contains(mapped, f) })
			continue
		}
		all = append(all, &operation{r.System, r.Operation, mapped})
	}
	return all
}

func find(operations []*operation, system, name string) *operation {
	i := slices.IndexFunc(operations, func(op *operation) bool { return op.system == system && op.name == name })
	if i < 0 {
		return nil
	}
	return operations[i]
}

// always are the members of the input that a call of the operation has. A fact
// that does not exist is absent.
func (op *operation) always() []string {
	members := []string{"identity.kind", "identity.issuer", "identity.subject"}
	for _, field := range op.fields {
		members = append(members, "call."+field)
	}
	return members
}

// checkClosed takes the inputs that tests ask about and that are allowed. Each
// must have what every call has, and must not be allowed any more with a member of
// the call, the identity or the facts, at any depth, removed or null; left out are
// fields that a call may come without. Every operation must have such an input.
//
// What decides here is the policy itself, as it will decide calls, not a test.
func checkClosed(ctx context.Context, rules *policy.Policy, operations []*operation, inputs []policy.TestInput) error {
	trials, err := tryAll(ctx, rules, operations, inputs)
	if err != nil {
		return err
	}
	var found complaints
	seen, told := map[*operation]bool{}, map[string]bool{}
	for i, t := range trials {
		if !t.allowed {
			continue
		}
		op := t.op
		seen[op] = true
		for _, o := range t.open {
			if key := op.system + " " + op.name + " " + o.member; !told[key] {
				told[key] = true
				found.add("systems/%s: %s does not need input.%s: what the test %s allows is allowed with it %s",
					op.system, op.name, o.member, inputs[i].Test, o.how)
			}
		}
	}
	for _, op := range operations {
		if !seen[op] {
			found.add("systems/%s: no test has an input of the operation %s that data.payments.decision allows: write one, its input is what the policy is checked with",
				op.system, op.name)
		}
	}
	return found.err()
}

// A trial is what the policy decides on one input and, where that is allowed, on
// every one that is bent out of it.
type trial struct {
	op      *operation // nil where no call is like the input
	allowed bool
	open    []opening
}

// tryAll tries each input, several at once: one for each processor. The trials are
// in the order of the inputs, and the error is that of the first that has one.
func tryAll(ctx context.Context, rules *policy.Policy, operations []*operation, inputs []policy.TestInput) ([]trial, error) {
	trials, errs := make([]trial, len(inputs)), make([]error, len(inputs))
	var next atomic.Int64
	var failed atomic.Bool // those before the one that failed have begun, and end
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(inputs) {
					return
				}
				if trials[i], errs[i] = try(ctx, rules, operations, inputs[i]); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return trials, nil
}

func try(ctx context.Context, rules *policy.Policy, operations []*operation, in policy.TestInput) (_ trial, err error) {
	defer func() {
		if p := recover(); p != nil { // here it would end the process
			err = fmt.Errorf("%s: the policy makes its check panic: %v\n%s", in.Test, p, debug.Stack())
		}
	}()
	op := find(operations, in.Input.Text("call", "system"), in.Input.Text("call", "operation"))
	if op == nil {
		return trial{}, nil
	}
	allowed, err := allows(ctx, rules, in.Input)
	if err != nil {
		return trial{}, fmt.Errorf("%s: the decision on its input: %w", in.Test, err)
	}
	if !allowed {
		return trial{op: op}, nil
	}
	open, err := openings(ctx, rules, op, in.Input)
	if err != nil {
		return trial{}, fmt.Errorf("%s: the decision on its input %w", in.Test, err)
	}
	return trial{op, true, open}, nil
}

// An opening is a member of an allowed input that the policy does not want.
type opening struct{ member, how string }

// openings returns those of one allowed input.
func openings(ctx context.Context, rules *policy.Policy, op *operation, input policy.Value) ([]opening, error) {
	var open []opening
	missing := op.always()
	for _, path := range input.Paths() {
		name := path.String()
		part, member, isBelow := strings.Cut(name, ".")
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
		if !isBelow || part == "call" && !slices.Contains(op.fields, member) {
			continue
		}
		how, err := stillAllowed(ctx, rules, input, path)
		if err != nil {
			return nil, fmt.Errorf("without input.%s: %w", name, err)
		}
		if how != "" {
			open = append(open, opening{name, how + ". Let permit want it, or leave it out of what tests allow"})
		}
	}
	for _, name := range missing {
		open = append(open, opening{name, "missing. Every call has it: put it there, and let permit want it"})
	}
	return open, nil
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
