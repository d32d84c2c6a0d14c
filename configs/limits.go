package configs

import "time"

// Session limits the device door.
type Session struct {
	HelloTimeout  time.Duration `yaml:"hello_timeout"` // from the upgrade to the first hello
	Ping          time.Duration `yaml:"ping"`          // to an idle connection; 2.5 of them without an answer end it
	AckTimeout    time.Duration `yaml:"ack_timeout"`   // until an update is sent again; doubles up to AckTimeoutMax
	AckTimeoutMax time.Duration `yaml:"ack_timeout_max"`
	UAIDs         int           `yaml:"uaids"`         // on one connection or in one request
	MessageRate   float64       `yaml:"message_rate"`  // messages per second on one device connection; 0: no limit
	RegisterRate  float64       `yaml:"register_rate"` // REST registrations per second from one address; 0: no limit
}

// Publish limits the app-server door.
type Publish struct {
	InFlight     int           `yaml:"in_flight"`     // PUTs waiting for their commit at once
	Wait         time.Duration `yaml:"wait"`          // for a commit, then 503
	EndpointRate float64       `yaml:"endpoint_rate"` // PUTs per second on one endpoint; 0: no limit
}
