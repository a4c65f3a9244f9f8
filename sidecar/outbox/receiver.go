package outbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// A Receiver is a host that webhooks may go to.
type Receiver struct {
	// Host is a name or an IP address, and a port; 443 where it has none.
	Host string
	// Secrets that what goes there is signed with. One receiver's are no other's: who
	// knows a secret can sign with it.
	Secrets []Secret
	// Loopback receivers are on this machine, and nowhere else: for tests and
	// demonstrations.
	Loopback bool
}

const httpsPort = "443"

// ErrReceiver: a receiver cannot be used.
var ErrReceiver = errors.New("webhook receiver")

// address returns the receiver's host and port as a dialler names them.
func (r Receiver) address() (string, error) {
	parsed, err := url.Parse("https://" + r.Host)
	if err != nil || parsed.Host != r.Host || parsed.Hostname() == "" || parsed.User != nil {
		return "", fmt.Errorf("%w: %q is not HOST or HOST:PORT", ErrReceiver, r.Host)
	}
	if port := parsed.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("%w: %q has no port that there is", ErrReceiver, r.Host)
		}
	}
	if len(r.Secrets) == 0 {
		return "", fmt.Errorf("%w: %s has no secret", ErrReceiver, r.Host)
	}
	return addressOf(parsed), nil
}

// addressOf is where a URL leads: a host in lower case and a port.
func addressOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = httpsPort
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// CheckReceivers says what New would refuse of receivers: ErrReceiver.
func CheckReceivers(list []Receiver) error {
	_, err := receivers(list)
	return err
}

// receivers by their addresses.
func receivers(list []Receiver) (map[string]Receiver, error) {
	all := make(map[string]Receiver, len(list))
	for _, r := range list {
		address, err := r.address()
		if err != nil {
			return nil, err
		}
		if _, twice := all[address]; twice {
			return nil, fmt.Errorf("%w: %s is there twice", ErrReceiver, r.Host)
		}
		all[address] = r
	}
	return all, nil
}

// errAddress: a name leads to where no webhook goes.
var errAddress = errors.New("the address is not one that webhooks go to")

// guard returns the hook of a dialler that lets it connect to public addresses alone,
// or to loopback addresses alone. It is asked after names were resolved, with the
// very address that is connected to, so whoever rules a name cannot lead us to a
// service inside (server-side request forgery).
func guard(loopback bool) func(network, address string, _ syscall.RawConn) error {
	return func(network, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" {
			return errAddress
		}
		ip := at.Addr().Unmap()
		if loopback && ip.IsLoopback() || !loopback && isPublic(ip) {
			return nil
		}
		return errAddress
	}
}

// special are addresses that are not reachable from everywhere, or that stand for
// others which may not be (the special-purpose registries of IANA, RFC 6890), beside
// those that package netip knows.
var special = prefixes(
	"0.0.0.0/8",       // this network (RFC 1122)
	"100.64.0.0/10",   // shared by carriers (RFC 6598)
	"192.0.0.0/24",    // protocol assignments (RFC 6890)
	"192.0.2.0/24",    // documentation (RFC 5737)
	"192.88.99.0/24",  // 6to4 relays (RFC 7526)
	"198.18.0.0/15",   // benchmarks (RFC 2544)
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"240.0.0.0/4",     // reserved (RFC 1112), and broadcast
	"::/96",           // IPv4-compatible (RFC 4291)
	"64:ff9b::/96",    // IPv4 behind NAT64 (RFC 6052)
	"64:ff9b:1::/48",  // the same, local (RFC 8215)
	"100::/64",        // discard (RFC 6666)
	"2001::/23",       // protocol assignments, Teredo among them (RFC 2928)
	"2001:db8::/32",   // documentation (RFC 3849)
	"2002::/16",       // 6to4: IPv4 inside (RFC 3056)
	"3fff::/20",       // documentation (RFC 9637)
	"5f00::/16",       // segment routing (RFC 9602)
	"fec0::/10",       // site-local (RFC 3879)
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func isPublic(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Zone() != "" {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
