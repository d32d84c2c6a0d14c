package bare

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/load"
)

// TestKeep checks that what the reference answers with 202 is in its file.
func TestKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bare.db")
	key := func(i int) (k edition.Key) { k.UAID[0] = byte(i); return k }
	if err := Fill(file, 200, key); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Keep(ctx, l, file) }()
	p, err := load.DialPutter(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	k := appendKey(nil, key(7))
	if status, err := p.Put(hex.AppendEncode([]byte(PathPut), k[4:]), 1234); err != nil || status != http.StatusAccepted {
		t.Errorf("got %d, %v", status, err)
	}
	for _, path := range []string{"/", PathPut, PathPut + "00", PathPut + "zz"} {
		if status, err := p.Put([]byte(path), 1); err != nil || status != http.StatusNotFound {
			t.Errorf("%s: got %d, %v", path, status, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	db, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if n := b.Stats().KeyN; n != 200 {
			t.Errorf("%d keys, want 200", n)
		}
		if v := b.Get(k); string(v[:12]) != "version=1234" {
			t.Errorf("got %q", v)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bare.db")
	took, err := Write(file, 250, 100, func(i int) (k edition.Key) { k.UAID[0] = byte(i); return k })
	if err != nil || took <= 0 {
		t.Fatal(took, err)
	}
	db, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(bucket).Stats().KeyN; n != 250 {
			t.Errorf("%d keys, want 250", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestSend(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := netip.MustParseAddrPort(c.LocalAddr().String())
	if _, err := Send(3, func(int) netip.AddrPort { return to }, func(i int) []byte { return []byte{byte(i)} }); err != nil {
		t.Fatal(err)
	}
	var buf [8]byte
	for i := range 3 {
		if n, err := c.Read(buf[:]); err != nil || n != 1 || buf[0] != byte(i) {
			t.Errorf("datagram %d: % x, %v", i, buf[:n], err)
		}
	}
}
