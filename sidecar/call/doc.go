// Package call turns an HTTP request into a typed [Call], or refuses it.
//
// A route table says which requests a payment service has and what they mean:
// method, path and host choose the route; the route names the operation, whose
// identity counts, where each field stands, which facts the store is asked for and
// what the service behind it promises. docs/routes.md is its reference. Whatever
// the table does not say is refused, and so is every request that two programs
// could read differently: a path or a parameter that is not in its canonical form,
// a header that is there twice or that would change the method or the path behind
// us, a body that is not the whole body or not strictly JSON (package strictjson).
//
// Two kinds of fields stay out of what a policy sees. A secret goes to the evidence
// that it is and nowhere else; of a personal one a token stands in its place.
//
// The package knows nothing of Envoy: a [Request] is a plain value. Read [Load] and
// compile.go for the table, [Table.Decode] for a request, refusal.go for every
// answer that is not a call.
package call
