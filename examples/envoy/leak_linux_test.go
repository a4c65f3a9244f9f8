package envoy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A process that panics, or is killed, takes its Envoy with it.
func TestEnvoyDiesWithItsParent(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Writer) error{
		"panic":  func(_ *exec.Cmd, in io.Writer) error { _, err := fmt.Fprintln(in); return err },
		"killed": func(cmd *exec.Cmd, _ io.Writer) error { return cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "ENVOY_TEST_HELPER=panic", "TMPDIR="+t.TempDir()) // it cleans up nothing
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			pid, convErr := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || convErr != nil || !alive(pid) {
				t.Fatalf("helper said %q, %v; want the id of a live process", line, err)
			}
			if err := end(cmd, in); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the helper ended well, want a panic or a kill")
			}
			for end := time.Now().Add(patience); alive(pid); time.Sleep(pollInterval) {
				if time.Now().After(end) {
					t.Fatalf("envoy %d outlived its parent", pid)
				}
			}
		})
	}
}

// alive says whether a process runs; one that has ended but that nobody has
// waited for ("Z" in proc_pid_stat(5)) does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(stat, []byte(") "))
	return ok && rest[0] != 'Z' && rest[0] != 'X'
}
