package envoy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// An authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.certificate = a.sign(t, a.key.Public(), &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs a certificate, an authority's own where it has none yet. It is good for an
// hour unless it says otherwise.
func (a *authority) sign(t *testing.T, key crypto.PublicKey, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	template.NotBefore = template.NotAfter.Add(-2 * time.Hour)
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// issue signs a new key's certificate for these URIs, bent by change, which may be nil.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate), uris ...string) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "leaf"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, text := range uris {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	signed := a.sign(t, key.Public(), template)
	return &tls.Certificate{Certificate: [][]byte{signed.Raw}, PrivateKey: key, Leaf: signed}
}

func (a *authority) pem() []byte { return certificatePEM(a.certificate) }

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// A site is what an Envoy with TLS and its clients have: an authority for Envoy's own
// certificate, one for those of servers, and the directory from which Envoy has both.
type site struct {
	dir          string
	envoy        *authority
	clients      *authority
	certificates map[string]*tls.Certificate // by URI, of servers that are known by one
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{
		dir: t.TempDir(), envoy: newAuthority(t, "public"), clients: newAuthority(t, "clients"),
		certificates: map[string]*tls.Certificate{},
	}
	for _, name := range []string{"server.yaml", "clients.yaml"} {
		text, err := os.ReadFile(filepath.Join("tls", name))
		if err != nil {
			t.Fatal(err)
		}
		s.put(t, name, bytes.ReplaceAll(text, []byte(tlsDir), []byte(s.dir)))
	}
	s.renew(t)
	s.put(t, "clients.pem", s.clients.pem())
	return s
}

// put renames a file into the directory, as an operator renews one.
func (s *site) put(t *testing.T, name string, text []byte) {
	t.Helper()
	whole := filepath.Join(s.dir, name)
	if err := os.WriteFile(whole+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(whole+".new", whole); err != nil {
		t.Fatal(err)
	}
}

// renew gives Envoy a new certificate, and returns it.
func (s *site) renew(t *testing.T) *x509.Certificate {
	t.Helper()
	own := s.envoy.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	s.put(t, "server.pem", certificatePEM(own.Leaf))
	return own.Leaf
}

// of returns the certificate of the server that is known by a URI.
func (s *site) of(t *testing.T, uri string) *tls.Certificate {
	t.Helper()
	if s.certificates[uri] == nil {
		s.certificates[uri] = s.clients.issue(t, nil, uri)
	}
	return s.certificates[uri]
}

// config is how a client with a certificate, nil for none, speaks TLS with Envoy. It
// shows the certificate also where Envoy does not name its authority.
func (s *site) config(certificate *tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.envoy.certificate)
	return &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if certificate == nil {
			return &tls.Certificate{}, nil
		}
		return certificate, nil
	}}
}

// client is one with a certificate, nil for none.
func (s *site) client(certificate *tls.Certificate) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.config(certificate)}}
}

// newSecureFamily is a family whose Envoy speaks TLS. Subjects that are URIs of SPIFFE
// call with a certificate and without a token, all others the other way round.
func newSecureFamily(t *testing.T, rules fs.FS, accounts []authzstore.Account, terminals ...authzstore.Terminal) *family {
	t.Helper()
	f := &family{clock: heldClock{at: opened}, site: newSite(t)}
	f.start(t, rules, accounts, terminals)
	return f
}

// isServer tells whether a subject calls with a certificate.
func isServer(subject string) bool { return strings.HasPrefix(subject, "spiffe://") }

// client is how a subject calls.
func (f *family) client(t *testing.T, subject string) *http.Client {
	t.Helper()
	switch {
	case f.site == nil:
		return &http.Client{Timeout: patience}
	case isServer(subject):
		return f.site.client(f.site.of(t, subject))
	}
	return f.site.client(nil)
}

// server is the identity of a certificate's URI.
func server(kind, uri string) authzstore.Identity {
	domain, path, _ := strings.Cut(strings.TrimPrefix(uri, "spiffe://"), "/")
	return authzstore.Identity{Kind: kind, Issuer: "spiffe://" + domain, Subject: "/" + path}
}

// nobody fails unless a call was refused because it is not known, or not clear, who
// calls, and nothing of it has reached the payment service.
func (f *family) nobody(t *testing.T, resp response, code string) {
	t.Helper()
	if resp.StatusCode != http.StatusUnauthorized || resp.reason(t) != code {
		t.Errorf("status %d, %s; want 401 %s", resp.StatusCode, resp.body, code)
	}
	for _, call := range paid() {
		if call.Header.Get("Countersign-Decision-Id") == resp.Header.Get("Countersign-Decision-Id") {
			t.Error("it reached the payment service")
		}
	}
}

// The command of README.md makes what the tests run.
func TestListenerByHand(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "   sed -i ")
	command, _, found := strings.Cut(rest, " my-envoy.yaml\n")
	if !found {
		t.Fatal("README.md has no such command")
	}
	copied := filepath.Join(t.TempDir(), "my-envoy.yaml")
	if err := os.WriteFile(copied, configYAML, 0o600); err != nil {
		t.Fatal(err)
	}
	sed := exec.CommandContext(t.Context(), "sh", "-c", "sed "+command+" "+copied) // to the standard output
	sed.Dir = filepath.Join("..", "..")
	made, err := sed.Output()
	if err != nil || !bytes.Equal(made, withTLS(tlsDir)) || bytes.Equal(made, configYAML) {
		t.Errorf("%v; it makes\n%s", err, made)
	}
}
