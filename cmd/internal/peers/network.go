package peers

import (
	"fmt"
	"path/filepath"

	"github.com/edition-push/edition/kickdrivers/mqtt/mqttsim"
	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
	"github.com/edition-push/edition/kickdrivers/sms/smppsim"
	"github.com/edition-push/edition/kickdrivers/wakeup/wakeupsim"
)

func mqttKind() Kind {
	answers := map[string]byte{
		refused: 0x87, // not authorized; MQTT 5, section 3.4.2.1
		tooMany: 0x97, // quota exceeded
		"fault": 0x83, // implementation specific error
	}
	return Kind{
		Name: "mqtt", Driver: "mqtt", What: "an MQTT 5 broker",
		Answers: map[string]string{refused: "PUBACK 0x87, not authorized", tooMany: "PUBACK 0x97, quota exceeded", "fault": "PUBACK 0x83"},
		start: func(o Options) (*Peer, error) {
			s, err := mqttsim.Start(mqttsim.Options{
				Addr: o.Addr, Log: o.Log, TLS: true, ClientCert: true,
				Answer: func(mqttsim.Kick) byte { return answers[o.Answer] },
				OnKick: func(k mqttsim.Kick) {
					o.OnPush(Push{To: k.Topic, Text: fmt.Sprintf("QoS %d, expiry %ds: %s", k.QoS, k.Expiry, line([]byte(k.Payload)))})
				},
			})
			return opened(s, err, o.Dir, func() (map[string]any, error) {
				return map[string]any{"url": s.URL(), "topic": "edition/kick/{{.client}}", "tls": clientTLS(o.Dir)}, nil
			}, always(map[string]any{"client": "lamp-7"}))
		},
	}
}

func status(s smpp.Status) smppsim.Answer { return smppsim.Answer{Status: s} }

func smppKind() Kind {
	answers := map[string]smppsim.Answer{
		"":            {State: smpp.StateDelivered},
		gone:          status(smpp.InvDest),
		refused:       status(smpp.PermAppError),
		tooMany:       status(smpp.Throttled),
		"queue-full":  status(smpp.MsgQueueFull),
		"fault":       status(smpp.SysErr),
		"undelivered": {State: smpp.StateUndeliverable},
		hang:          {Never: true},
		drop:          {Hangup: true},
	}
	return Kind{
		Name: "smpp", Driver: "sms", What: "an SMSC that speaks SMPP 3.4",
		Answers: map[string]string{
			gone: "ESME_RINVDSTADR", refused: "ESME_RX_P_APPN", tooMany: "ESME_RTHROTTLED", "queue-full": "ESME_RMSGQFUL",
			"fault": "ESME_RSYSERR", "undelivered": "accepted, then a receipt that says UNDELIV", hang: "no answer", drop: "the connection is cut",
		},
		start: func(o Options) (*Peer, error) {
			s, err := smppsim.Start(smppsim.Options{
				Addr: o.Addr, Log: o.Log,
				Answer: func(smppsim.Kick) smppsim.Answer { return answers[o.Answer] },
				OnKick: func(k smppsim.Kick) {
					text := fmt.Sprintf("%s from %s: %s", k.Form, k.From, line([]byte(k.Text)))
					if k.Port != 0 {
						text = fmt.Sprintf("%s to port %d from %s: %q", k.Form, k.Port, k.From, k.Data)
					}
					o.OnPush(Push{To: k.To, Text: text})
				},
			})
			return opened(s, err, o.Dir, func() (map[string]any, error) { return s.Entry(o.Dir), nil }, always(map[string]any{"msisdn": "+34600111222"}))
		},
	}
}

func wakeupKind() Kind {
	answers := map[string]wakeupsim.Answer{
		"":          {},
		refused:     {Status: 400, Text: "Bad parameters"},
		"not-found": {Status: 404, Text: "Not found"},
		unavailable: {Status: 503, Text: "Unavailable", RetryAfter: int(retryAfter.Seconds())},
	}
	return Kind{
		Name: "wakeup", Driver: "wakeup", What: "a carrier's wake-up platform",
		Answers: map[string]string{refused: "400", "not-found": "404", unavailable: "503"},
		start: func(o Options) (*Peer, error) {
			s, err := wakeupsim.Start(wakeupsim.Options{
				Addr: o.Addr, Log: o.Log, TLS: true, ClientCert: true,
				Networks: []wakeupsim.Network{{NetID: "214-07.default", Codes: "214-07", Range: []string{"127.0.0.0/8", "10.0.0.0/8"}}},
				Answer:   func(wakeupsim.Kick) wakeupsim.Answer { return answers[o.Answer] },
				OnKick: func(k wakeupsim.Kick) {
					o.OnPush(Push{To: fmt.Sprintf("%s:%d", k.IP, k.Port), Text: fmt.Sprintf("network %s, proto %s, X-Tracking-ID %s", k.NetID, k.Proto, k.Tracking)})
				},
			})
			return opened(s, err, o.Dir, func() (map[string]any, error) {
				return map[string]any{"url": s.URL(), "tls": clientTLS(o.Dir)}, nil
			}, always(map[string]any{"ip": "127.0.0.1", "port": 4000, "netid": "214-07.default"}))
		},
	}
}

// clientTLS are the keys for the files that simtls writes.
func clientTLS(dir string) map[string]any {
	return map[string]any{
		"ca_file":   filepath.Join(dir, simtls.CAFile),
		"cert_file": filepath.Join(dir, simtls.CertFile),
		"key_file":  filepath.Join(dir, simtls.KeyFile),
	}
}
