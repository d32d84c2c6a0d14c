package configs

import "time"

// Session limits the device door.
type Session struct {
	HelloTimeout  time.Duration `yaml:"hello_timeout"` // from the upgrade to the first hello
	Ping          time.Duration `yaml:"ping"`          // to an idle connection; 2.5 of them without an answer end it
	IdleClose     time.Duration `yaml:"idle_close"`    // for devices that can be woken; 0: never
	AckTimeout    time.Duration `yaml:"ack_timeout"`   // until an update is sent again; doubles up to AckTimeoutMax
	AckTimeoutMax time.Duration `yaml:"ack_timeout_max"`
	WriteTimeout  time.Duration `yaml:"write_timeout"`  // for a peer that does not read
	UAIDs         int           `yaml:"uaids"`          // on one device connection or in one request
	MessageRate   float64       `yaml:"message_rate"`   // messages per second on one device connection; 0: no limit
	MessageBurst  int           `yaml:"message_burst"`  // messages at once
	RegisterRate  float64       `yaml:"register_rate"`  // registrations per second from one address; 0: no limit
	RegisterBurst int           `yaml:"register_burst"` // registrations at once
	RelayWindow   int           `yaml:"relay_window"`   // updates to one relay in flight
}

// Dialects says how devices of other protocols than edition.v1 are treated:
// those of SimplePush, and of Mozilla's push service.
type Dialects struct {
	PingMin     time.Duration `yaml:"ping_min"`     // between two pings of these protocols; 0: no time
	MaxChannels int           `yaml:"max_channels"` // in the hello of a SimplePush client; more: it gets a new uaid
	Versions    string        `yaml:"versions"`     // of SimplePush: greatest or last
	LaxIDs      bool          `yaml:"lax_ids"`      // SimplePush clients choose any uaid and channelID
	Carrier     bool          `yaml:"carrier"`      // hello is answered 201 when the device can be woken
	MsgLimit    int           `yaml:"msg_limit"`    // waiting for a browser; more: it gets a new uaid; 0: no limit
}

// What Dialects.Versions says: which versions a channel takes.
const (
	VersionsGreatest = "greatest" // rising ones
	VersionsLast     = "last"     // also one below what was acknowledged
)

// Publish limits the app-server door.
type Publish struct {
	Waiting       int           `yaml:"waiting"`        // PUTs waiting for their commit at once
	Wait          time.Duration `yaml:"wait"`           // for a commit, then 503
	EndpointRate  float64       `yaml:"endpoint_rate"`  // requests per second to one endpoint; 0: no limit
	EndpointBurst int           `yaml:"endpoint_burst"` // requests at once to one endpoint
	Batches       int           `yaml:"batches"`        // POSTs to /v1/events open at once
	Receipts      int           `yaml:"receipts"`       // requests that wait for receipts of messages at once
	Idle          time.Duration `yaml:"idle"`           // to receive one body or one line of a batch
}
