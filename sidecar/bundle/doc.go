// Package bundle makes one thing of a policy, its data, its schemas and its
// route tables: a [Bundle], named by the digest of its content, which never
// changes. A call is decided by one bundle from its first byte to its answer.
package bundle
