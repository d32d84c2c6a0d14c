package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// certify makes a certificate, signed by parent or by itself.
func certify(t *testing.T, cn string, dns []string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:        parent == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signer, by := c, any(key)
	if parent != nil {
		signer, by = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A relay is known by its client certificate, over TLS, where no write is
// tried without a deadline.
func TestClientCertificate(t *testing.T) {
	ca := certify(t, "ca", nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	for _, tt := range []struct {
		name string
		cert *tls.Certificate
		is   bool
	}{
		{"common name", new(certify(t, "r2.example", nil, &ca)), true},
		{"DNS name", new(certify(t, "x", []string{"y", "r2.example"}, &ca)), true},
		{"another name", new(certify(t, "r3.example", nil, &ca)), false},
		{"none", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := &tls.Config{RootCAs: pool}
			if tt.cert != nil {
				conf.Certificates = []tls.Certificate{*tt.cert}
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{certify(t, "server", nil, &ca)},
				ClientCAs:    pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13,
			})
			if err != nil {
				t.Fatal(err)
			}
			d := openOn(t, l, (&tls.Dialer{Config: conf}).DialContext, func(o *Options) { o.Limits = unhurried })
			c := d.connect()
			c.say(wire.Message{Type: wire.TypeHello, Relay: "r2"})
			if !tt.is {
				c.wantError(403, wire.TypeHello, "not authenticated")
				return
			}
			c.hear(wire.TypeHello)
			n, _ := d.store.Relay(t.Context(), "r2", "")
			v := d.registered(n)
			for i := range edition.Version(3) {
				d.deliver(v.Key, i+1)
				c.update(v.Key, i+1)
				c.report(wire.AckDelivered, event(v, i+1))
				c.barrier()
			}
		})
	}
}

func TestProofs(t *testing.T) {
	s := New(options(mem.New(mem.Options{})))
	ctx := context.Background()
	n, _ := s.store.Relay(ctx, "r1", "")
	v, direct := newDevice(), newDevice()
	for owner, w := range map[edition.Owner]device{n: v, edition.Direct: direct} {
		if err := s.store.Register(ctx, edition.Registration{Key: w.Key, Proof: w.proof(), Owner: owner}); err != nil {
			t.Fatal(err)
		}
	}
	device, relay, other := caller{}, caller{peer: s.roster.Load().members[0].peer, owner: n}, caller{peer: s.roster.Load().members[1].peer, owner: n + 1}
	right, wrong := v.proof(), direct.proof()
	for _, tt := range []struct {
		name   string
		by     caller
		uaid   edition.UAID
		shown  *edition.Proof
		proven bool
		want   error
	}{
		{"right", device, v.UAID, &right, false, nil},
		{"wrong", device, v.UAID, &wrong, false, edition.ErrUnauthorized},
		{"wrong, shown before", device, v.UAID, &wrong, true, edition.ErrUnauthorized},
		{"none", device, v.UAID, nil, false, edition.ErrUnauthorized},
		{"none, shown before", device, v.UAID, nil, true, nil},
		{"none, of the relay it is bound to", relay, v.UAID, nil, false, nil},
		{"none, of another relay", other, v.UAID, nil, false, edition.ErrUnauthorized},
		{"none, of a relay, for one that is here", relay, direct.UAID, nil, false, edition.ErrUnauthorized},
		{"none, of a relay without a name", caller{peer: s.roster.Load().members[0].peer}, direct.UAID, nil, false, edition.ErrUnauthorized},
		{"unknown", device, edition.NewUAID(), &right, false, edition.ErrNotFound},
		{"unknown, none", device, edition.NewUAID(), nil, false, edition.ErrUnauthorized},
	} {
		_, err := s.prove(tt.by, tt.uaid, tt.shown, tt.proven)
		if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestRatesAreBounded(t *testing.T) {
	r := newRates("registrations", 1, 2)
	for i := range maxRates + 100 {
		addr := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		if err := r.take(0, addr); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.by) > maxRates {
		t.Error("addresses remembered:", len(r.by))
	}
	// One IPv6 network is one address.
	for i, want := range []bool{true, true, false} {
		addr := netip.MustParseAddr("2001:db8::").As16()
		addr[15] = byte(i)
		if err := r.take(0, netip.AddrFrom16(addr)); (err == nil) != want {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := r.take(time.Second, netip.MustParseAddr("2001:db8::9")); err != nil {
		t.Error("after a second:", err)
	}
}

// A page of another origin may connect: it proves itself as anybody.
func TestOrigin(t *testing.T) {
	d := open(t, nil)
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+d.url[len("http"):]+wire.PathWebSocket,
		http.Header{"Origin": {"https://elsewhere.example"}})
	if err != nil {
		t.Fatal(err)
	}
	ws.Close()
}
