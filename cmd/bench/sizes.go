package bench

import "time"

// sizes says how much work a run does.
type sizes struct {
	Devices    int           // connected at once
	Publishers int           // app servers, a connection each
	Connects   int           // how often all devices connect
	Settle     time.Duration // after connecting, before CPU is measured
	Rest       time.Duration // after that, before memory is measured
	Warm       time.Duration // load that is not measured
	Rounds     int           // of reference and server in turn
	Closed     time.Duration // a round of publishers that wait for their answers
	Rate       int           // PUTs a second of the open loop
	Open       time.Duration // a round of the open loop

	Pending      []int // keys that wait in the store already, ascending
	StoredRounds int
	Stored       time.Duration // of PUTs to absent devices

	Drain           int // events that a relay drains
	DrainRounds     int
	Reconnect       [2]int // UAIDs of a small and of a large relay
	ReconnectRounds int    // reconnects of each
	Kicks           int    // datagrams in a round
	KickRounds      int
	Pushes          int // to APNs in a round
	PushRounds      int
	Restart         [2]int // kicks that are due after a restart: few and many
}

// full is what the limits speak of.
var full = sizes{
	Devices: 10_000, Publishers: 128, Connects: 3, Settle: 3 * time.Second, Rest: 3 * time.Second,
	Warm: 3 * time.Second, Rounds: 12, Closed: 3 * time.Second, Rate: 4000, Open: 4 * time.Second,
	Pending: []int{100_000, 1_000_000, 5_000_000}, StoredRounds: 3, Stored: 20 * time.Second,
	Drain: 1_000_000, DrainRounds: 3,
	Reconnect: [2]int{1000, 1_000_000}, ReconnectRounds: 50,
	Kicks: 1_000_000, KickRounds: 5, Pushes: 100_000, PushRounds: 6, Restart: [2]int{100_000, 1_000_000},
}

// quick ends within two minutes on two cores and shows the same figures, less
// sharply.
var quick = sizes{
	Devices: 10_000, Publishers: 128, Connects: 2, Settle: time.Second, Rest: 3 * time.Second,
	Warm: time.Second, Rounds: 4, Closed: 2 * time.Second, Rate: 4000, Open: 1500 * time.Millisecond,
	Pending: []int{100_000, 500_000}, StoredRounds: 1, Stored: 5 * time.Second,
	Drain: 200_000, DrainRounds: 1,
	Reconnect: [2]int{1000, 200_000}, ReconnectRounds: 20,
	Kicks: 200_000, KickRounds: 3, Pushes: 20_000, PushRounds: 4, Restart: [2]int{40_000, 120_000},
}
