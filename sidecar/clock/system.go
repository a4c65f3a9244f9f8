package clock

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// clockBoottime is CLOCK_BOOTTIME of clock_gettime(2).
const clockBoottime = 7

// systemBoottime reads CLOCK_BOOTTIME: the time since the kernel started, the time
// in suspend included. Every kernel since 2.6.39 has it.
func systemBoottime() time.Duration {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		panic(fmt.Sprintf("clock_gettime: %v", errno))
	}
	return time.Duration(ts.Nano())
}

// systemBootID names this boot of the kernel (random(4)). Where it cannot be read,
// the name is new: no other process then believes in the same boot.
func systemBootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown-" + rand.Text()
	}
	return strings.TrimSpace(string(id))
}
