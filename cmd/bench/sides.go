package bench

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/bare"
	"github.com/edition-push/edition/cmd/bench/internal/load"
	"github.com/edition-push/edition/wire"
)

// side is what a load generator knows of a server that devices connect to.
type side struct {
	targets []load.Target
	dial    func(addr string, i int) (*load.Device, error)
}

// Names of the two sides, for progress and for the load generator.
const (
	sideBare = "bare"
	sideOurs = "edition"
)

// bareSide is the reference's: no token, no store, an answer of fixed size.
func bareSide(n int) *side {
	reply := []byte(strings.Repeat(".", bare.ReplySize))
	s := &side{targets: make([]load.Target, n)}
	for i := range s.targets {
		s.targets[i].Path = fmt.Appendf(nil, "%s%d", bare.PathPut, i)
		s.targets[i].ReplyHead = reply
	}
	s.dial = func(addr string, i int) (*load.Device, error) {
		d, err := load.DialDevice(addr, bare.PathDevice+strconv.Itoa(i), "", nil)
		if err != nil {
			return nil, err
		}
		return answered(d, hello(keySpace(n).at(i).UAID, i), `"type":"hello"`)
	}
	return s
}

// ourSide is that of a server with the registrations of devicesOf. path makes
// an endpoint's path.
func ourSide(n int, path func(edition.Key) []byte) *side {
	space := keySpace(n)
	s := &side{targets: make([]load.Target, n)}
	for i := range s.targets {
		t := &s.targets[i]
		t.Path = path(space.at(i))
		ack := string(wire.AppendAck(nil, false, edition.Update{{Key: space.at(i), Version: 7}}))
		at := strings.LastIndex(ack, ":7") + 1
		t.ReplyHead, t.ReplyTail = []byte(ack[:at]), []byte(ack[at+1:])
	}
	s.dial = func(addr string, i int) (*load.Device, error) {
		d, err := load.DialDevice(addr, wire.PathWebSocket, wire.Subprotocol, nil)
		if err != nil {
			return nil, err
		}
		uaid := space.at(i).UAID
		return answered(d, hello(uaid, i), `"uaids":["`+uaid.String())
	}
	return s
}

// answered sends a hello and checks that the answer holds what it should.
func answered(d *load.Device, hello []byte, want string) (*load.Device, error) {
	if err := d.Write(hello); err != nil {
		d.Close()
		return nil, err
	}
	msg, err := d.Read()
	if err == nil && !strings.Contains(string(msg), want) {
		err = fmt.Errorf("a hello was answered %.200q", msg)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func hello(uaid edition.UAID, i int) []byte {
	return fmt.Appendf(nil, `{"type":"hello","agents":[{"uaid":"%s","secret":"%s"}]}`, uaid, secret(i))
}
