package extauthz

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrListen: the address is refused.
var ErrListen = errors.New("listen")

// Listen opens the listener for Envoy. Whoever can connect to it can claim to be
// anybody, so it is either
//
//   - unix:PATH, a socket with the mode given: 0600 (this user alone) or 0660
//     (its group too), or
//   - tcp:127.0.0.1:PORT or another loopback address,
//
// and anything else is refused, as is a socket in a directory that others can
// write to. A socket file that nobody listens on any more is replaced.
func Listen(address string, mode fs.FileMode) (net.Listener, error) {
	if err := CheckAddress(address, mode); err != nil {
		return nil, err
	}
	network, place, _ := strings.Cut(address, ":")
	if network == "unix" {
		return listenUnix(place, mode)
	}
	listener, err := net.Listen(network, place)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	return listener, nil
}

// unixListener holds its path by a lock, for as long as it is open.
type unixListener struct {
	net.Listener
	lock *os.File
}

func (l unixListener) Close() error { return errors.Join(l.Listener.Close(), l.lock.Close()) }

func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := checkDirectory(path); err != nil {
		return nil, err
	}
	// Of two that start at once and find the socket of a killed process, the
	// second must not remove the first one's new socket for it.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	listener, err := listenLocked(lock, path, mode)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return unixListener{listener, lock}, nil
}

func listenLocked(lock *os.File, path string, mode fs.FileMode) (net.Listener, error) {
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%w: somebody already listens on %s", ErrListen, path)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The socket is never, not even for a moment, open to others: its mode is
	// what the umask leaves.
	old := syscall.Umask(int(0o777 &^ mode))
	defer syscall.Umask(old)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	return listener, nil
}

// maxSocketPath bounds the path of a unix socket in bytes: sun_path has 108 on
// Linux, with the final zero (unix(7)).
const maxSocketPath = 107

// CheckAddress says what Listen would refuse without looking at the system.
func CheckAddress(address string, mode fs.FileMode) error {
	network, place, ok := strings.Cut(address, ":")
	switch {
	case ok && network == "unix":
		return checkUnix(place, mode)
	case ok && network == "tcp":
		return checkLoopback(place)
	default:
		return fmt.Errorf("%w: %q is neither unix:PATH nor tcp:127.0.0.1:PORT", ErrListen, address)
	}
}

func checkLoopback(hostPort string) error {
	addr, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return fmt.Errorf("%w: tcp:%s: not an IP address and a port, such as 127.0.0.1:9191", ErrListen, hostPort)
	}
	if !addr.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%w: tcp:%s is not a loopback address: nobody but this host may reach it", ErrListen, hostPort)
	}
	return nil
}

func checkUnix(path string, mode fs.FileMode) error {
	if mode != 0o600 && mode != 0o660 {
		return fmt.Errorf("%w: socket mode %04o is neither 0600 nor 0660", ErrListen, mode)
	}
	if path == "" || strings.HasPrefix(path, "@") {
		// An abstract socket has no mode: every user of the host could connect.
		return fmt.Errorf("%w: unix:%s is not a path in the file system", ErrListen, path)
	}
	if len(path) > maxSocketPath {
		return fmt.Errorf("%w: the socket's path has %d bytes, at most %d work: %s", ErrListen, len(path), maxSocketPath, path)
	}
	return nil
}

// checkDirectory refuses a directory where somebody else could put a socket of
// their own, and allow everything, while this one is away. The sticky bit does
// not help: it keeps them from removing ours, not from being first.
func checkDirectory(socket string) error {
	dir := filepath.Dir(socket)
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrListen, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w: others can write to %s (mode %04o), and put a socket of their own there; use a directory that only this user writes to",
			ErrListen, dir, info.Mode().Perm())
	}
	return nil
}

// removeStale removes a socket that a killed process left behind.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrListen, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%w: %s exists and is not a socket", ErrListen, path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%w: somebody already listens on %s", ErrListen, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %s: %w", ErrListen, path, err)
	}
	return os.Remove(path)
}
