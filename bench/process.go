package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is one running server and the client that calls it.
type process struct {
	*client
	cmd    *exec.Cmd
	ask    io.WriteCloser // closed, it ends the server
	answer *bufio.Reader
	ended  chan struct{} // closed when the server has ended,
	exit   error         // like this
}

// startProcess starts a server in a directory of its own below dir, and returns
// when it answers as it should.
func startProcess(ctx context.Context, s server, dir, profiles string) (p *process, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	at := place{socket: socketOf(dir, s.name), dir: filepath.Join(dir, s.name)}
	if err := os.Mkdir(at.dir, 0o700); err != nil {
		return nil, err
	}
	p = &process{}
	if p.client, err = newClient(s, at.socket); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(program, serveCommand,
		"-server", s.name, "-socket", at.socket, "-dir", at.dir, "-profiles", profiles)
	p.cmd.Stderr = os.Stderr
	if p.ask, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own: that of StdoutPipe would be closed by Wait.
	output, serverOutput, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = serverOutput
	p.answer = bufio.NewReader(output)
	err = errors.Join(p.cmd.Start(), serverOutput.Close())
	if err != nil {
		return nil, err
	}
	p.ended = make(chan struct{})
	go func() {
		p.exit = p.cmd.Wait()
		close(p.ended)
	}()
	if err := p.verifyWhileRunning(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), p.stop())
	}
	return p, nil
}

func socketOf(dir, name string) string { return filepath.Join(dir, name+".sock") }

// verifyWhileRunning does not wait for a server that has ended.
func (p *process) verifyWhileRunning(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return p.verify(ctx)
}

// stopTimeout bounds how long a server may take to end.
const stopTimeout = 10 * time.Second

func (p *process) stop() error {
	errs := []error{p.close(), p.ask.Close()}
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.ended
	if p.exit != nil {
		errs = append(errs, fmt.Errorf("%s: %w", p.name, p.exit))
	}
	return errors.Join(errs...)
}

// cpu asks the server for the CPU time it used so far, user and system.
func (p *process) cpu() (time.Duration, error) {
	if _, err := io.WriteString(p.ask, "cpu\n"); err != nil {
		return 0, err
	}
	line, err := p.answer.ReadString('\n')
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(ns), err
}

// reportUsage is the server's side of cpu. It returns when there are no more
// questions.
func reportUsage(questions io.Reader, answers io.Writer) {
	lines := bufio.NewScanner(questions)
	for lines.Scan() {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			return
		}
		if _, err := fmt.Fprintln(answers, usage.Utime.Nano()+usage.Stime.Nano()); err != nil {
			return
		}
	}
}

// startProfiles starts a CPU profile. Stop writes it, and what was allocated, to
// NAME.cpu.pprof and NAME.allocs.pprof in dir. No dir, no profiles.
func startProfiles(dir, name string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cpu, err := os.Create(filepath.Join(dir, name+".cpu.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(filepath.Join(dir, name+".allocs.pprof"))
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		runtime.GC() // completes the profile
		err = pprof.Lookup("allocs").WriteTo(allocs, 0)
		return errors.Join(err, allocs.Close(), cpu.Close())
	}, nil
}
