package udpsim

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestServer(t *testing.T) {
	got := make(chan Kick, 1)
	s, err := Start(Options{OnKick: func(k Kick) { got <- k }})
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"udp", "tcp"} {
		c, err := net.Dial(proto, s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "NOTIFY 127.0.0.1:4000 K7TQ2MXB"); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case k := <-got:
			if k.Proto != proto || k.Text != "NOTIFY 127.0.0.1:4000 K7TQ2MXB" || k.Code() != "K7TQ2MXB" {
				t.Errorf("got %+v with the code %q", k, k.Code())
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing came by %s", proto)
		}
	}
	if _, err := Start(Options{Addr: s.Addr()}); err == nil {
		t.Error("two listen on one port")
	}
	idle, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if err := s.Close(); err != nil { // does not wait for those who say nothing
		t.Error(err)
	}
}

func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"NOTIFY 10.1.2.3:4000":          "",
		"NOTIFY 10.1.2.3:4000 K7TQ2MXB": "K7TQ2MXB",
		"up K7TQ2MXB":                   "K7TQ2MXB",
		"K7TQ2MXB":                      "", // the payload itself
		"up K7TQ2MX1":                   "",
		"up K7TQ2MXBX":                  "",
		"":                              "",
	} {
		if got := (Kick{Text: text}).Code(); got != want {
			t.Errorf("%q has the code %q, want %q", text, got, want)
		}
	}
}
