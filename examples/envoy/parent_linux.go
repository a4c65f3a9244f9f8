package envoy

import (
	"os/exec"
	"syscall"
)

// bindToParent makes the kernel kill the process when its parent dies, however
// that happens.
func bindToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
