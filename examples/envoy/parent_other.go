//go:build !linux

package envoy

import "os/exec"

// bindToParent does nothing: only Linux can tie a process to its parent. A
// parent that is killed leaves its Envoy behind.
func bindToParent(*exec.Cmd) {}
