// Package decide decides one call: decode, read the facts, build the input,
// evaluate, answer. There is no other place where anything is decided.
//
// There are four answers, and only the first lets a call pass:
//
//   - allow: the policy permits it and has no reason against it;
//   - deny: the request is refused as it stands, or the policy denies it;
//   - defect: the policy failed. Trying again will not help;
//   - unavailable: there is no answer now. The call can be tried again.
package decide
