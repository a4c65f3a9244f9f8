// Package terminal has web pages that play the devices of a payment system: a phone,
// a computer, an agent's desk and a till. A person uses them to carry out the built-in
// systems by hand, and a browser in tests.
//
// The pages are for this machine alone. Whoever opens them may act as anybody in the
// demo: they ask for a token and get it, without a login. So the handler answers under
// loopback names only, and nothing that another site's page asks for. What they call
// goes to Envoy unchanged, is verified there and decided by the sidecar, as calls of any
// app would be: the pages themselves decide nothing.
package terminal
