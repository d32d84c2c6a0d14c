// Package wire holds the bytes that both ends of the edition protocol speak:
// the JSON messages of the WebSocket and the bodies of the REST requests, the
// table of errors and HTTP statuses, and problem documents (RFC 9457). See
// docs/protocol.md. It keeps no state and opens no connection.
package wire

import "time"

// WebSocket subprotocols of the device door: edition.v1, and that of SimplePush
// and of the Mozilla push protocol, which their hellos tell apart.
const (
	Subprotocol           = "edition.v1"
	SubprotocolSimplePush = "push-notification"
)

// Paths of the two doors.
const (
	PathRoot       = "/"      // any protocol's WebSocket
	PathEndpoint   = "/v1/e/" // + token
	PathMessage    = "/v1/m/" // + token: a message of Web Push
	PathReceipt    = "/v1/r/" // + token: what became of it
	PathEvents     = "/v1/events"
	PathWebSocket  = "/v1/ws"
	PathRegister   = "/v1/register"
	PathUnregister = "/v1/unregister"
	PathKick       = "/v1/kick"
	PathUpdate     = "/v1/update"
	PathAck        = "/v1/ack"
)

// Types of messages.
const (
	TypeHello      = "hello"
	TypeRegister   = "register"
	TypeUnregister = "unregister"
	TypeKick       = "kick"
	TypeUpdate     = "update"
	TypeAck        = "ack"
	TypeRefuse     = "refuse"
	TypeWake       = "wake"  // to a relay
	TypeWoken      = "woken" // from a relay
	TypePing       = "ping"
	TypePong       = "pong"
	TypeError      = "error"
)

// States of an ack.
const (
	AckDelivered = "delivered" // also when State is empty
	AckStored    = "stored"
)

// Custody modes: how long an upstream keeps what a relay has taken.
const (
	CustodyDevice = "device" // until the device's ack is passed up
	CustodyRelay  = "relay"  // until the relay reports stored
)

// Close codes of the WebSocket beyond those of RFC 6455 §7.4.1.
const (
	// CloseRestart tells a client to come back later; the reason is the
	// number of seconds to wait (IANA: 1012 Service Restart).
	CloseRestart = 1012
	// CloseUnauthorized tells a relay that its token or certificate counts no
	// more.
	CloseUnauthorized = 4401
	// CloseReplaced tells that a newer connection took over its last UAID.
	CloseReplaced = 4409
	// CloseIdle tells a device that it may sleep: the server will wake it.
	CloseIdle = 4774
)

// Limits that both ends share. Times have no unit but their own.
const (
	// MaxToken is the greatest length of an endpoint's token.
	MaxToken = 128
	// MaxMessage is the greatest size of a device's message or an update, in bytes.
	MaxMessage = 64 << 10
	// MaxUpdate is the greatest number of events in one UPDATE.
	MaxUpdate = 1000
	// MaxWait bounds a long poll.
	MaxWait = 60 * time.Second
	// MaxWay is the greatest number of stores above a relay.
	MaxWay = 256
	// MaxWake is how long a relay may take to answer a TypeWake.
	MaxWake = 30 * time.Second
)
