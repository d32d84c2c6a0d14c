package smppsim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/sms/gsm"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
	"github.com/edition-push/edition/kickdrivers/sms/smppsim"
)

func TestMain(m *testing.M) { leak.Main(m) }

func start(t *testing.T, o smppsim.Options) *smppsim.Server {
	t.Helper()
	s, err := smppsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func options(password string) smpp.Options {
	return smpp.Options{
		Bind:    smpp.Bind{SystemID: "edition", Password: password, Version: smpp.Version},
		Receive: true, Window: 100, Timeout: 30 * time.Second, Enquire: time.Minute,
	}
}

func bind(t *testing.T, s *smppsim.Server, o smpp.Options) (*smpp.Session, error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	session, err := smpp.Open(t.Context(), conn, o)
	if err == nil {
		t.Cleanup(session.Close)
	}
	return session, err
}

func message(to string) *smpp.Message {
	return &smpp.Message{Dest: smpp.Address{TON: 1, NPI: 1, Addr: to}, Text: []byte("hello"), Registered: smpp.WantReceipt}
}

// TestEntry: the keys that the simulator gives out lead to it.
func TestEntry(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var got atomic.Pointer[smppsim.Kick]
		s := start(t, smppsim.Options{TLS: secure, OnKick: func(k smppsim.Kick) { got.Store(&k) }})
		dir := t.TempDir()
		if err := s.WriteFiles(dir); err != nil {
			t.Fatal(err)
		}
		entry := s.Entry(dir)
		entry["timeout"] = "2m"
		entry["smpp"].(map[string]any)["bind_timeout"] = "2m"
		entries, err := kickdrivers.Decode([]map[string]any{entry})
		if err != nil {
			t.Fatal(err)
		}
		d, err := entries[0].Open(driver.Env{})
		if err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 1)
		d.Kick(t.Context(), []driver.Kick{{Target: []byte(`{"msisdn":"+34600111222"}`), Confirm: "AB12CD34"}}, errs)
		if errs[0] != nil || got.Load() == nil || got.Load().To != "+34600111222" || got.Load().Text != "Wake up AB12CD34" {
			t.Errorf("kick: %v, arrived %+v", errs[0], got.Load())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBind(t *testing.T) {
	s := start(t, smppsim.Options{})
	if _, err := bind(t, s, options("wrong")); !is(err, smpp.InvPassword) {
		t.Errorf("a wrong password: %v", err)
	}
	o := options("secret")
	o.Bind.SystemID = "other"
	if _, err := bind(t, s, o); !is(err, smpp.InvSystemID) {
		t.Errorf("a wrong system_id: %v", err)
	}
	if _, err := bind(t, s, options("secret")); err != nil || s.Bound() != 1 {
		t.Errorf("bind: %v, %d bound", err, s.Bound())
	}
}

func is(err error, status smpp.Status) bool {
	no, ok := errors.AsType[*smpp.StatusError](err)
	return ok && no.Status == status
}

func TestMessagesAreChecked(t *testing.T) {
	s := start(t, smppsim.Options{})
	session, err := bind(t, s, options("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*smpp.Message)
		want   smpp.Status
	}{
		"good":            {func(*smpp.Message) {}, smpp.OK},
		"a plus":          {func(m *smpp.Message) { m.Dest.Addr = "+34600111222" }, smpp.InvDest},
		"a short number":  {func(m *smpp.Message) { m.Dest.Addr = "27000" }, smpp.InvDest},
		"national":        {func(m *smpp.Message) { m.Dest.TON = 2 }, smpp.InvDest},
		"161 characters":  {func(m *smpp.Message) { m.Text = make([]byte, 161) }, smpp.InvMsgLen},
		"141 octets":      {func(m *smpp.Message) { m.Text, m.DataCoding = make([]byte, 141), smpp.CodingBinary }, smpp.InvMsgLen},
		"no header":       {func(m *smpp.Message) { m.ESMClass = smpp.ESMUDHI }, smpp.InvESMClass},
		"header too long": {func(m *smpp.Message) { m.ESMClass, m.Text = smpp.ESMUDHI, []byte{200} }, smpp.InvESMClass},
		"header, too long": {func(m *smpp.Message) {
			m.ESMClass, m.Text = smpp.ESMUDHI, append(gsm.PushPorts.Header(), make([]byte, 134)...)
		}, smpp.InvMsgLen},
		"validity": {func(m *smpp.Message) { m.Validity = "1h" }, smpp.InvExpiry},
	} {
		m := message("34600111222")
		c.change(m)
		_, err := session.Submit(t.Context(), m)
		if c.want == smpp.OK && err != nil || c.want != smpp.OK && !is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestWindow throttles who has more unanswered than was agreed.
func TestWindow(t *testing.T) {
	release := make(chan struct{})
	var held sync.WaitGroup
	held.Add(2)
	s := start(t, smppsim.Options{Window: 2, Answer: func(smppsim.Kick) smppsim.Answer {
		held.Done()
		return smppsim.Answer{Never: true}
	}})
	session, err := bind(t, s, options("secret"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			if _, err := session.Submit(ctx, message(fmt.Sprintf("3460011122%d", i))); !errors.Is(err, context.Canceled) {
				t.Errorf("a message that is never answered: %v", err)
			}
			<-release
		})
	}
	held.Wait()
	if _, err := session.Submit(t.Context(), message("34600111229")); !is(err, smpp.Throttled) {
		t.Errorf("the third message: %v", err)
	}
	cancel()
	close(release)
	all.Wait()
}

// TestHostile: the simulator outlives what it is sent.
func TestHostile(t *testing.T) {
	s := start(t, smppsim.Options{Enquire: time.Millisecond})
	pdu := func(p smpp.PDU) []byte { return p.AppendTo(nil) }
	body, err := options("secret").Bind.Body()
	if err != nil {
		t.Fatal(err)
	}
	good := pdu(smpp.PDU{Command: smpp.BindTransceiver, Sequence: 1, Body: body})
	for name, b := range map[string][]byte{
		"half a bind":      good[:20],
		"a bind cut short": pdu(smpp.PDU{Command: smpp.BindTransceiver, Sequence: 1, Body: body[:3]}),
		"a huge length":    {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1},
		"bound twice":      append(append([]byte(nil), good...), good...),
		"not bound":        pdu(smpp.PDU{Command: smpp.SubmitSM, Sequence: 1, Body: body}),
		"an answer":        pdu(smpp.PDU{Command: smpp.SubmitSM.Resp(), Sequence: 1}),
		"unknown":          pdu(smpp.PDU{Command: 0x103, Sequence: 1}),
		"bound, then half": append(append([]byte(nil), good...), pdu(smpp.PDU{Command: smpp.SubmitSM, Sequence: 2, Body: make([]byte, 200)})...),
	} {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.EOF) {
			t.Logf("%s: %v", name, err) // it may be reset with octets unread
		}
		conn.Close()
	}
	if _, err := bind(t, s, options("secret")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}
