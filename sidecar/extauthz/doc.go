// Package extauthz is the gRPC server that Envoy's external authorisation filter
// calls (envoy.service.auth.v3.Authorization). It turns a CheckRequest into a
// plain request, has it decided, and turns the decision into a CheckResponse.
// Nothing else of the project imports Envoy's protos.
//
// To Envoy, an answer is an allow unless its status code is other than 0: an
// empty CheckResponse lets the call through (measured with Envoy 1.40.0). A gRPC
// error is not a denial either: it passes where failure_mode_allow is on. So
// every answer here starts as a denial and becomes an allow in one place, and
// every failure is an answer.
package extauthz
