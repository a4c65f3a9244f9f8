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
package policy
