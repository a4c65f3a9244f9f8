// Package sidecar wires the parts of Countersign and runs them: the store, the
// policy and its routes, the decision, and the gRPC server that Envoy asks.
//
// Imports point one way:
//
//	cmd → sidecar → extauthz → decide → {policy, call} → authzstore → kv
//
// Package upstream stands apart: it is for payment services, and extauthz signs
// with it what they verify.
package sidecar
