// Package policy compiles a bundle of Rego and decides one call with it. It is
// the only package of the project that knows OPA.
//
// A policy is closed in every doubt. It compiles under a list of built-in
// functions by inclusion, in strict mode and against the schemas of the bundle;
// an error of a built-in is an error of the evaluation, not "undefined"; a
// deadline of its own ends it; a panic is caught; and a result that is not
// exactly a decision is a defect. What each of these answers is said at
// [Policy.Decide].
//
// The bundle is read once, whole, and closed in every doubt too: see [Read]. A
// file that nobody would read, a package that is not where its directory says, a
// rule of a system that no rule names, are refused, not passed over.
//
// OPA ends an evaluation between its own steps. A built-in function that can take
// long has bounds on its operands, its result, and what one evaluation does with
// all of them; beyond the bounds the decision is a defect, within them it is what
// `opa eval --bundle` answers.
//
// What is left to whoever writes a policy, and to no caller: comparing two values
// that hold the same part exponentially often (x := [y, y], y := [z, z], …) is a
// step of OPA's own without bounds. OPA unifies them with a depth of stack that
// grows with their size, and Go ends a process whose stack is full: nothing is
// answered, and nothing allowed. Where OPA's type checker compares such values,
// Load does not return. Memory is bounded for texts and by the time there is to
// fill it, not by a number of bytes.
package policy
