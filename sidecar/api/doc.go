// Package api has the two HTTP APIs beside the checks.
//
// [Control] is for backends and operators: they keep accounts, terminals,
// merchants and grants, settle reservations, and read records. It has a listener
// of its own. Who calls shows a token that the store knows by its SHA-256 alone,
// and the token's role says what the caller may: [Operations] is the whole table.
// Every change is a transaction with a record that names the token.
//
// [TerminalAPI] is for owners and delegates, behind Envoy. What they change changes
// in the check; this API decides nothing and shows the state that resulted.
//
// Bodies are read by package strictjson, as those of payments are, and no answer
// holds a value of a body that is refused.
package api
