package extauthz

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// socketPath returns a path short enough for a socket (108 bytes on Linux).
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "a.sock")
}

func mustListen(t *testing.T, address string, mode fs.FileMode) net.Listener {
	t.Helper()
	listener, err := Listen(address, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func wantNoListener(t *testing.T, address string, mode fs.FileMode, says string) {
	t.Helper()
	listener, err := Listen(address, mode)
	if err == nil {
		listener.Close()
		t.Fatalf("listens on %s", listener.Addr())
	}
	if !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), says) {
		t.Errorf("error %q, want %v that says %q", err, ErrListen, says)
	}
}

// The socket has exactly the mode that was asked for, whatever the umask is.
func TestListenUnixMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660} {
		path := socketPath(t)
		listener := mustListen(t, "unix:"+path, mode)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.ModeSocket|mode {
			t.Errorf("mode %v, want %v", info.Mode(), fs.ModeSocket|mode)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close the socket is still there: %v", err)
		}
	}
}

// Listen leaves the umask of the process as it was.
func TestListenRestoresUmask(t *testing.T) {
	before, after := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	mode := func(path string) fs.FileMode {
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	want := mode(before)
	mustListen(t, "unix:"+socketPath(t), 0o600)
	if got := mode(after); got != want {
		t.Errorf("files are made with mode %v, before with %v", got, want)
	}
}

func TestListenRefusesModes(t *testing.T) {
	for _, mode := range []fs.FileMode{0, 0o400, 0o644, 0o666, 0o700, 0o777, 0o662, 0o606, 0o1600, 0o4600, fs.ModeSetuid | 0o600} {
		path := socketPath(t)
		wantNoListener(t, "unix:"+path, mode, "neither 0600 nor 0660")
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("mode %v: a file was made", mode)
		}
	}
}

func TestListenRefusesAddresses(t *testing.T) {
	long := "/tmp/" + strings.Repeat("a", 200)
	for _, c := range []struct{ address, says string }{
		{"", "neither unix:PATH nor tcp:"}, {"unix", "neither"}, {"127.0.0.1:9191", "neither"}, {":9191", "neither"},
		{"/run/a.sock", "neither"}, {"http://127.0.0.1:9191", "neither"}, {"udp:127.0.0.1:1", "neither"}, {"UNIX:/run/a.sock", "neither"},
		{"unix:", "not a path"}, {"unix:@abstract", "not a path"}, {"unix:@", "not a path"}, {"unix:\x00abstract", ""},
		{"unix:" + long, ""}, {"unix:/nonexistent4711/a.sock", "nonexistent4711"},
		{"tcp:", "not an IP address and a port"}, {"tcp::9191", "not an IP address"}, {"tcp:localhost:9191", "not an IP address"},
		{"tcp:pay.example:9191", "not an IP address"}, {"tcp:127.0.0.1", "not an IP address"}, {"tcp:127.0.0.1:http", "not an IP address"},
		{"tcp:127.0.0.1:65536", "not an IP address"}, {"tcp:127.1:9191", "not an IP address"}, {"tcp:0177.0.0.1:9191", "not an IP address"},
		{"tcp:2130706433:9191", "not an IP address"}, {"tcp:*:9191", "not an IP address"},
		{"tcp:0.0.0.0:9191", "not a loopback address"}, {"tcp:[::]:9191", "not a loopback address"}, {"tcp:10.0.0.1:9191", "not a loopback address"},
		{"tcp:192.0.2.1:9191", "not a loopback address"}, {"tcp:[2001:db8::1]:9191", "not a loopback address"}, {"tcp:[fe80::1%lo]:9191", "not a loopback address"},
		{"tcp:[::ffff:10.0.0.1]:9191", "not a loopback address"}, {"tcp:128.0.0.1:9191", "not a loopback address"}, {"tcp:126.255.255.255:9191", "not a loopback address"},
		{"tcp:[::ffff:0.0.0.0]:9191", "not a loopback address"}, {"tcp:255.255.255.255:9191", "not a loopback address"},
	} {
		t.Run(c.address, func(t *testing.T) { wantNoListener(t, c.address, 0o600, c.says) })
	}
}

func TestListenLoopback(t *testing.T) {
	for _, address := range []string{"tcp:127.0.0.1:0", "tcp:127.8.9.10:0", "tcp:[::ffff:127.0.0.1]:0"} {
		listener := mustListen(t, address, 0o600)
		host, _, err := net.SplitHostPort(listener.Addr().String())
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("%s listens on %s", address, listener.Addr())
		}
		// The same port again.
		wantNoListener(t, "tcp:"+listener.Addr().String(), 0o600, "in use")
	}
}

// A socket that a killed process left is replaced; one that somebody listens on
// is not, nor is anything else.
func TestListenOnWhatIsThere(t *testing.T) {
	t.Run("stale socket", func(t *testing.T) {
		path := socketPath(t)
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		if err := stale.Close(); err != nil {
			t.Fatal(err)
		}
		mustListen(t, "unix:"+path, 0o600)
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
	t.Run("live socket", func(t *testing.T) {
		path := socketPath(t)
		live := mustListen(t, "unix:"+path, 0o600)
		wantNoListener(t, "unix:"+path, 0o600, "somebody already listens")
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the one that listens is cut off: %v", err)
		}
		conn.Close()
		if _, err := live.Accept(); err != nil { // the refused attempt's own dial
			t.Error(err)
		}
	})
	t.Run("file", func(t *testing.T) {
		path := socketPath(t)
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantNoListener(t, "unix:"+path, 0o600, "is not a socket")
		if text, err := os.ReadFile(path); string(text) != "precious" {
			t.Errorf("the file now holds %q, %v", text, err)
		}
	})
	t.Run("directory", func(t *testing.T) {
		path := socketPath(t)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		wantNoListener(t, "unix:"+path, 0o600, "is not a socket")
	})
	for _, mode := range []os.FileMode{0o777, 0o702, 0o770, 0o777 | os.ModeSticky} {
		t.Run("in a directory of mode "+mode.String(), func(t *testing.T) {
			path := socketPath(t)
			if err := os.Chmod(filepath.Dir(path), mode); err != nil {
				t.Fatal(err)
			}
			wantNoListener(t, "unix:"+path, 0o600, "others can write to "+filepath.Dir(path))
		})
	}
	t.Run("symbolic link to a socket", func(t *testing.T) {
		path := socketPath(t)
		mustListen(t, "unix:"+path, 0o600)
		link := path + "2"
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		wantNoListener(t, "unix:"+link, 0o600, "is not a socket")
	})
	t.Run("symbolic link to nothing", func(t *testing.T) {
		path := socketPath(t)
		if err := os.Symlink(path+"3", path); err != nil {
			t.Fatal(err)
		}
		wantNoListener(t, "unix:"+path, 0o600, "is not a socket")
	})
}
