// Package sidecar wires the parts of Countersign and runs them: the store, the
// policy and its routes, the decision, and the gRPC server that Envoy asks.
//
// Imports point one way:
//
//	cmd → sidecar → extauthz → decide → {policy, call} → authzstore → kv
package sidecar
