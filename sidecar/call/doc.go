// Package call turns an HTTP request into a typed [Call], or refuses it.
//
// A route table says which requests a payment service has and what they mean:
// method and path choose the route, the route names the operation and where each
// field stands. Whatever the table does not say is refused, and so is every
// request that two programs could read differently: a path that is not in its
// canonical form, a query or a body where the route has none, a header that
// would change the method or the path behind us, a body that is not the whole
// body or not strictly JSON (package strictjson).
//
// The package knows nothing of Envoy: a [Request] is a plain value.
package call
