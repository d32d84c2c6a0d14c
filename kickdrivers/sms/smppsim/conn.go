package smppsim

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// conn is one connection. Its serve goroutine reads; others may write.
type conn struct {
	// Fixed after construction.
	server *Server
	net    net.Conn
	over   chan struct{} // closed when reading has ended

	writing sync.Mutex

	mu       sync.Mutex
	bound    smpp.Command // how, or 0
	open     int          // submit_sm that are not answered
	sequence uint32       // of its own questions
}

func (c *conn) isBound() bool { return c.how() != 0 }

func (c *conn) how() smpp.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bound
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.server.forget(c)
	defer close(c.over)
	defer c.net.Close()
	for {
		p, err := smpp.Read(c.net)
		if err != nil {
			c.server.log.Debug("smpp connection ended", "err", err)
			return
		}
		if !c.take(p) {
			return
		}
	}
}

// wait returns true after d, false when the connection ends before.
func (c *conn) wait(d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.over:
		return false
	}
}

// writeTimeout bounds how long a side that does not read is waited for.
const writeTimeout = 10 * time.Second

func (c *conn) write(p smpp.PDU) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.net.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
		return
	}
	if _, err := c.net.Write(p.AppendTo(nil)); err != nil {
		c.net.Close()
	}
}

func (c *conn) answer(p smpp.PDU, status smpp.Status, body []byte) {
	c.write(smpp.PDU{Command: p.Command.Resp(), Status: status, Sequence: p.Sequence, Body: body})
}

// ask sends a PDU of its own; the answer is not waited for.
func (c *conn) ask(command smpp.Command, body []byte) {
	c.mu.Lock()
	c.sequence++
	n := c.sequence
	c.mu.Unlock()
	c.write(smpp.PDU{Command: command, Sequence: n, Body: body})
}

// take handles one PDU; false ends the connection.
func (c *conn) take(p smpp.PDU) bool {
	switch p.Command {
	case smpp.BindTransmitter, smpp.BindTransceiver, smpp.BindReceiver:
		c.bind(p)
	case smpp.SubmitSM:
		return c.submit(p)
	case smpp.EnquireLink:
		c.answer(p, smpp.OK, nil)
	case smpp.Unbind:
		c.answer(p, smpp.OK, nil)
		return false
	case smpp.Unbind.Resp():
		return false
	case smpp.EnquireLink.Resp(), smpp.DeliverSM.Resp():
	default:
		c.write(smpp.PDU{Command: smpp.GenericNack, Status: smpp.InvCmdID, Sequence: p.Sequence})
	}
	return true
}

func (c *conn) bind(p smpp.PDU) {
	m, err := smpp.ParseBind(p.Body)
	status := smpp.OK
	switch o := c.server.o; {
	case err != nil:
		status = smpp.BindFail
	case c.isBound():
		status = smpp.AlreadyBound
	case m.SystemID != o.SystemID:
		status = smpp.InvSystemID
	case m.Password != o.Password:
		status = smpp.InvPassword
	}
	if status != smpp.OK {
		c.answer(p, status, nil)
		return
	}
	c.mu.Lock()
	c.bound = p.Command
	c.mu.Unlock()
	body, err := smpp.Answer{ID: "smppsim", TLVs: []smpp.TLV{{Tag: smpp.TagVersion, Value: []byte{smpp.Version}}}}.Body()
	if err != nil {
		return // not with these texts
	}
	c.answer(p, smpp.OK, body)
	c.server.log.Info("smpp bound", "command", p.Command.String(), "system_id", m.SystemID)
	if every := c.server.o.Enquire; every > 0 {
		c.server.work.Go(func() { c.enquire(every) })
	}
}

// enquire asks again and again. It begins when the bind has been answered:
// before that there is no link to enquire about (section 2.3).
func (c *conn) enquire(every time.Duration) {
	for c.wait(every) {
		c.ask(smpp.EnquireLink, nil)
	}
}

func (c *conn) submit(p smpp.PDU) bool {
	m, err := smpp.ParseMessage(p.Body)
	if err != nil {
		c.answer(p, smpp.InvMsgLen, nil)
		return true
	}
	k, status := read(m)
	switch how := c.how(); {
	case how != smpp.BindTransmitter && how != smpp.BindTransceiver:
		status = smpp.InvBindStatus
	case status == smpp.OK && !c.enter():
		status = smpp.Throttled
	}
	if status != smpp.OK {
		c.answer(p, status, nil)
		return true
	}
	a, id := c.server.o.Answer(k), c.server.newID()
	switch {
	case a.Hangup:
		return false
	case a.Never:
		return true
	case a.Delay == 0:
		c.finish(p, k, a, id)
		c.server.work.Go(func() { c.receipt(k, a, id) })
	default:
		c.server.work.Go(func() {
			if c.wait(a.Delay) {
				c.finish(p, k, a, id)
				c.receipt(k, a, id)
			}
		})
	}
	return true
}

// enter counts an unanswered message, if there is room for it.
func (c *conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.server.o.Window {
		return false
	}
	c.open++
	return true
}

// finish answers a message and tells of one that is accepted.
func (c *conn) finish(p smpp.PDU, k Kick, a Answer, id string) {
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
	if a.Status != smpp.OK {
		c.answer(p, a.Status, nil)
		return
	}
	if c.server.o.OnKick != nil {
		c.server.o.OnKick(k)
	}
	body, err := smpp.Answer{ID: id}.Body()
	if err != nil {
		return // not with such an ID
	}
	c.answer(p, smpp.OK, body)
}

// codes are the values of message_state and the words of a receipt's text
// (sections 5.2.28 and appendix B).
var codes = map[string]struct {
	code byte
	word string
}{
	smpp.StateEnroute: {1, "ENROUTE"}, smpp.StateDelivered: {2, "DELIVRD"}, smpp.StateExpired: {3, "EXPIRED"},
	smpp.StateDeleted: {4, "DELETED"}, smpp.StateUndeliverable: {5, "UNDELIV"}, smpp.StateAccepted: {6, "ACCEPTD"},
	smpp.StateUnknown: {7, "UNKNOWN"}, smpp.StateRejected: {8, "REJECTD"},
}

// receipt sends the receipt of an accepted message that wants one.
func (c *conn) receipt(k Kick, a Answer, id string) {
	state, known := codes[a.State]
	if !known || a.Status != smpp.OK || k.Message.Registered&smpp.WantReceipt == 0 || c.how() != smpp.BindTransceiver || !c.wait(a.Later) {
		return
	}
	delivered := 0
	if a.State == smpp.StateDelivered {
		delivered = 1
	}
	now := time.Now().UTC().Format("0601021504")
	text := fmt.Sprintf("id:%s sub:001 dlvrd:%03d submit date:%s done date:%s stat:%s err:000 text:",
		id, delivered, now, now, state.word)
	m := smpp.Message{
		Source: k.Message.Dest, Dest: k.Message.Source, ESMClass: smpp.ESMReceipt, Text: []byte(text),
		TLVs: []smpp.TLV{
			{Tag: smpp.TagReceiptedID, Value: append([]byte(id), 0)},
			{Tag: smpp.TagMessageState, Value: []byte{state.code}},
		},
	}
	if body, err := m.Body(); err == nil {
		c.ask(smpp.DeliverSM, body)
	}
}
