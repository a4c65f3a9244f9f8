// Package sidecar wires the parts of Countersign and runs them: the store, the
// policy and its routes, the decision, the gRPC server that Envoy asks, and the two
// APIs beside it.
//
// Imports point one way:
//
//	cmd → sidecar → {extauthz, api} → decide → {evidence, bundle} → {policy, call} → authzstore → kv
//
// Package upstream stands apart: it is for payment services, and extauthz signs
// with it what they verify.
package sidecar
