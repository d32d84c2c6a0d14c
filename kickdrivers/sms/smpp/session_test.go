package smpp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// peer is the other side of a session, moved by hand. A goroutine reads, so
// that a pipe never blocks the session.
type peer struct {
	t    *testing.T
	conn net.Conn
	got  chan PDU // what came, without what it was told to answer by itself
	auto func(PDU) (PDU, bool)
}

func newPeer(t *testing.T, auto func(PDU) (PDU, bool)) (*peer, net.Conn) {
	here, there := net.Pipe()
	p := &peer{t: t, conn: there, got: make(chan PDU, 1000), auto: auto}
	go func() {
		defer close(p.got)
		for {
			in, err := Read(there)
			if err != nil {
				return
			}
			if out, ok := p.auto(in); ok {
				p.send(out)
				continue
			}
			p.got <- in
		}
	}()
	t.Cleanup(func() { there.Close() })
	return p, here
}

func (p *peer) send(out PDU) { p.conn.Write(out.AppendTo(nil)) }

// next returns what comes next, which must be of that command.
func (p *peer) next(want Command) PDU {
	p.t.Helper()
	in, ok := <-p.got
	if !ok || in.Command != want {
		p.t.Fatalf("got %v %v, want %v", in, ok, want)
	}
	return in
}

// polite answers what every SMSC answers; submit_sm is left to the test.
func polite(in PDU) (PDU, bool) {
	switch in.Command {
	case BindTransmitter, BindTransceiver:
		return PDU{Command: in.Command.Resp(), Sequence: in.Sequence, Body: []byte("smsc\x00")}, true
	case EnquireLink, Unbind:
		return PDU{Command: in.Command.Resp(), Sequence: in.Sequence}, true
	}
	return PDU{}, false
}

var options = Options{
	Bind:    Bind{SystemID: "edition", Password: "secret", Version: Version},
	Receive: true, Window: 3, Timeout: 10 * time.Second, Enquire: 30 * time.Second,
}

func open(t *testing.T, o Options, auto func(PDU) (PDU, bool)) (*Session, *peer) {
	t.Helper()
	p, conn := newPeer(t, auto)
	s, err := Open(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

var hello = &Message{Dest: Address{TON: 1, NPI: 1, Addr: "34600111222"}, Text: []byte("hello")}

// submit submits in the background.
func submit(s *Session) <-chan error {
	done := make(chan error, 1)
	go func() {
		id, err := s.Submit(context.Background(), hello)
		if err == nil && id == "" {
			err = errors.New("no message_id")
		}
		done <- err
	}()
	return done
}

func (p *peer) accept(in PDU) {
	p.send(PDU{Command: SubmitSM.Resp(), Sequence: in.Sequence, Body: fmt.Appendf(nil, "id-%d\x00", in.Sequence)})
}

func TestSubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t, options, polite)
		done := submit(s)
		in := p.next(SubmitSM)
		m, err := ParseMessage(in.Body)
		if err != nil || m.Dest.Addr != "34600111222" || string(m.Text) != "hello" {
			t.Errorf("submitted %+v, %v", m, err)
		}
		p.accept(in)
		if err := <-done; err != nil {
			t.Error(err)
		}
		done = submit(s)
		p.send(PDU{Command: SubmitSM.Resp(), Status: Throttled, Sequence: p.next(SubmitSM).Sequence})
		if no, ok := errors.AsType[*StatusError](<-done); !ok || no.Status != Throttled {
			t.Errorf("error %v", no)
		}
		s.Close()
		if _, err := s.Submit(t.Context(), hello); !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrEnded) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := s.Submit(t.Context(), &Message{Dest: Address{Addr: strings.Repeat("1", 30)}}); err == nil || errors.Is(err, ErrEnded) {
			t.Errorf("a number that is too long: %v", err)
		}
	})
}

func TestBindRefused(t *testing.T) {
	for name, c := range map[string]struct {
		auto func(PDU) (PDU, bool)
		want func(error) bool
	}{
		"wrong password": {
			func(in PDU) (PDU, bool) {
				return PDU{Command: in.Command.Resp(), Status: InvPassword, Sequence: in.Sequence}, true
			},
			func(err error) bool {
				no, ok := errors.AsType[*StatusError](err)
				return ok && no.Status == InvPassword
			},
		},
		"generic_nack": {
			func(in PDU) (PDU, bool) {
				return PDU{Command: GenericNack, Status: InvCmdID, Sequence: in.Sequence}, true
			},
			func(err error) bool { no, ok := errors.AsType[*StatusError](err); return ok && no.Status == InvCmdID },
		},
		"never answers": {
			func(PDU) (PDU, bool) { return PDU{}, false },
			func(err error) bool { ne, ok := errors.AsType[net.Error](err); return ok && ne.Timeout() },
		},
		"answers something else for ever": {
			func(in PDU) (PDU, bool) { return PDU{Command: EnquireLink, Sequence: 5}, true },
			func(err error) bool { return err != nil },
		},
		"another sequence number": {
			func(in PDU) (PDU, bool) { return PDU{Command: in.Command.Resp(), Sequence: in.Sequence + 1}, true },
			func(err error) bool { return err != nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, conn := newPeer(t, c.auto)
				s, err := Open(t.Context(), conn, options)
				if s != nil || !c.want(err) {
					t.Errorf("Open: %v, %v", s, err)
				}
			})
		})
	}
	t.Run("the context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, conn := newPeer(t, func(PDU) (PDU, bool) { return PDU{}, false })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := Open(ctx, conn, options); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Open: %v", err)
			}
		})
	})
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t, options, polite)
		var all []<-chan error
		for range 5 {
			all = append(all, submit(s))
		}
		synctest.Wait()
		if len(p.got) != 3 {
			t.Fatalf("%d submit_sm are unanswered, the window is 3", len(p.got))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Submit(ctx, hello); !errors.Is(err, context.Canceled) {
			t.Errorf("a submit that waits for the window and is called off: %v", err)
		}
		for range 5 {
			p.accept(p.next(SubmitSM))
		}
		for _, done := range all {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		s.Close()
	})
}

// TestAnswersOutOfOrder also has answers to nothing, of other kinds, and twice.
func TestAnswersOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t, options, polite)
		first, second := submit(s), submit(s)
		a, b := p.next(SubmitSM), p.next(SubmitSM)
		p.accept(PDU{Sequence: 0})
		p.accept(PDU{Sequence: 0xffffffff})
		p.accept(PDU{Sequence: a.Sequence + 100})
		p.send(PDU{Command: EnquireLink.Resp(), Sequence: a.Sequence})
		p.send(PDU{Command: BindTransceiver.Resp(), Sequence: a.Sequence})
		p.accept(b)
		p.accept(b)
		p.send(PDU{Command: GenericNack, Status: SysErr, Sequence: a.Sequence})
		yes, no := 0, 0
		for _, err := range []error{<-first, <-second} { // in the order of neither
			switch refused, ok := errors.AsType[*StatusError](err); {
			case err == nil:
				yes++
			case ok && refused.Status == SysErr:
				no++
			}
		}
		if yes != 1 || no != 1 {
			t.Errorf("%d accepted, %d not, want one each", yes, no)
		}
		s.Close()
	})
}

func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t, options, polite)
		start := time.Now()
		done := submit(s)
		late := p.next(SubmitSM)
		if err := <-done; !errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrEnded) {
			t.Errorf("an answer that does not come: %v", err)
		}
		if took := time.Since(start); took != options.Timeout {
			t.Errorf("told after %v", took)
		}
		p.accept(late) // to nobody
		done = submit(s)
		p.accept(p.next(SubmitSM))
		if err := <-done; err != nil {
			t.Errorf("the session goes on: %v", err)
		}
		s.Close()
	})
}

func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bound := false
		s, p := open(t, options, func(in PDU) (PDU, bool) {
			if bound {
				return PDU{}, false
			}
			bound = true
			return polite(in)
		})
		start := time.Now()
		done := submit(s)
		p.next(SubmitSM)
		if err := <-done; !errors.Is(err, ErrEnded) || errors.Is(err, ErrNotSent) {
			t.Errorf("submit to a peer that has died: %v", err)
		}
		p.next(EnquireLink)
		if took := time.Since(start); took != 2*options.Timeout {
			t.Errorf("told after %v", took)
		}
		<-s.Done()
		if !errors.Is(s.Err(), errSilent) {
			t.Errorf("ended because %v", s.Err())
		}
		s.Close()
	})
}

func TestEnquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s, p := open(t, options, func(in PDU) (PDU, bool) {
			if in.Command == EnquireLink {
				asked.Add(1)
			}
			return polite(in)
		})
		time.Sleep(5*options.Enquire + time.Second)
		if n := asked.Load(); n != 5 {
			t.Errorf("asked %d times in 5 times the interval", n)
		}
		p.send(PDU{Command: EnquireLink, Sequence: 77})
		if r := p.next(EnquireLink.Resp()); r.Sequence != 77 || r.Status != OK {
			t.Errorf("answered %+v", r)
		}
		s.Close()
		if asked.Load() != 5 {
			t.Error("asked though the other side had just spoken")
		}
	})
}

// TestEnquiredBeforeBound has a side that wants a sign of life before it
// answers the bind.
func TestEnquiredBeforeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bind PDU
		s, _ := open(t, options, func(in PDU) (PDU, bool) {
			switch in.Command {
			case BindTransceiver:
				bind = in
				return PDU{Command: EnquireLink, Sequence: 7}, true
			case EnquireLink.Resp():
				if in.Sequence != 7 {
					t.Errorf("answered %+v", in)
				}
				return polite(bind)
			}
			return polite(in)
		})
		s.Close()
	})
}

func TestDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []Receipt
		o := options
		o.Deliver = func(m Message) {
			mu.Lock()
			defer mu.Unlock()
			r, _ := m.Receipt()
			got = append(got, r)
		}
		s, p := open(t, o, polite)
		m := Message{ESMClass: ESMReceipt, Text: []byte("id:5 stat:DELIVRD")}
		body, err := m.Body()
		if err != nil {
			t.Fatal(err)
		}
		p.send(PDU{Command: DeliverSM, Sequence: 9, Body: body})
		if r := p.next(DeliverSM.Resp()); r.Sequence != 9 || r.Status != OK || string(r.Body) != "\x00" {
			t.Errorf("answered %+v", r)
		}
		p.send(PDU{Command: DeliverSM, Sequence: 10, Body: body[:4]})
		if r := p.next(DeliverSM.Resp()); r.Status != InvMsgLen {
			t.Errorf("half a deliver_sm is answered %+v", r)
		}
		p.send(PDU{Command: 0x103, Sequence: 11}) // data_sm
		if r := p.next(GenericNack); r.Sequence != 11 || r.Status != InvCmdID {
			t.Errorf("an unknown command is answered %+v", r)
		}
		p.send(PDU{Command: AlertNotify, Sequence: 12})
		p.send(PDU{Command: 0x80000103, Sequence: 13})
		p.send(PDU{Command: EnquireLink, Sequence: 14})
		p.next(EnquireLink.Resp()) // and nothing in answer to the two before
		s.Close()
		if want := (Receipt{"5", StateDelivered}); len(got) != 1 || got[0] != want {
			t.Errorf("receipts %+v, want %+v", got, want)
		}
	})
}

// TestEnds has the other side end the session in every way while messages are
// unanswered.
func TestEnds(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"closes":            func(p *peer) { p.conn.Close() },
		"half a PDU":        func(p *peer) { p.conn.Write([]byte{0, 0, 0, 20, 0x80, 0, 0}); p.conn.Close() },
		"unbinds":           func(p *peer) { p.send(PDU{Command: Unbind, Sequence: 3}) },
		"a length of 15":    func(p *peer) { p.conn.Write(append([]byte{0, 0, 0, 15}, make([]byte, 12)...)) },
		"a length of 4 GiB": func(p *peer) { p.conn.Write(append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 12)...)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := open(t, options, polite)
				var all []<-chan error
				for range 5 { // 3 in the window, 2 before it
					all = append(all, submit(s))
				}
				synctest.Wait()
				end(p)
				unsent := 0
				for _, done := range all {
					err := <-done
					if !errors.Is(err, ErrEnded) {
						t.Errorf("submit: %v", err)
					}
					if errors.Is(err, ErrNotSent) {
						unsent++
					}
				}
				if unsent != 2 {
					t.Errorf("%d messages were not sent, want 2", unsent)
				}
				<-s.Done()
				switch {
				case strings.HasPrefix(name, "a length"):
					for range 3 {
						p.next(SubmitSM)
					}
					if nack := p.next(GenericNack); nack.Status != InvCmdLen {
						t.Errorf("answered %+v", nack)
					}
				case name == "unbinds":
					for range 3 {
						p.next(SubmitSM)
					}
					p.next(Unbind.Resp())
				}
				s.Close()
			})
		})
	}
}

// TestPeerThatDoesNotRead: the session gives up rather than hang.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		go func() {
			in, err := Read(there)
			if err == nil {
				out, _ := polite(in)
				there.Write(out.AppendTo(nil))
			}
		}()
		s, err := Open(t.Context(), here, options)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-submit(s); !errors.Is(err, ErrEnded) {
			t.Errorf("submit: %v", err)
		}
		s.Close()
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := open(t, options, func(in PDU) (PDU, bool) {
			if in.Command == Unbind {
				return PDU{}, false // never answered
			}
			return polite(in)
		})
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(s.Close)
		}
		wg.Wait()
		if took := time.Since(start); took != unbindWait {
			t.Errorf("Close took %v", took)
		}
		p.next(Unbind)
	})
}

// TestSequence: numbers go round without meeting those in use.
func TestSequence(t *testing.T) {
	l := loop{sequence: maxSequence - 1, pending: map[uint32]*call{maxSequence: {}, 2: {}}, probe: 1}
	for _, want := range []uint32{3, 4} {
		if got := l.number(); got != want {
			t.Errorf("sequence_number %d, want %d", got, want)
		}
	}
}
