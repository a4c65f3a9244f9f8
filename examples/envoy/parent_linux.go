package envoy

import (
	"os/exec"
	"syscall"
)

// bindToParent makes the kernel kill the process when its parent dies, however
// that happens, and keeps a terminal's Ctrl-C from it: the parent stops it.
func bindToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
