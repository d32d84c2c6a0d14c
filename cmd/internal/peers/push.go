package peers

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/fcm/fcmsim"
	"github.com/edition-push/edition/kickdrivers/webhook/webhooksim"
	"github.com/edition-push/edition/kickdrivers/webpush/webpushsim"
)

// retryAfter is what an answer that holds pushes back asks for.
const retryAfter = 20 * time.Second

// Words for Options.Answer that several kinds have.
const (
	gone        = "gone"
	tooMany     = "too-many"
	unavailable = "unavailable"
	refused     = "refused"
	hang        = "hang"
	drop        = "drop"
)

func apnsKind() Kind {
	answers := map[string]apnssim.Answer{
		"":          {},
		gone:        {Status: 410, Reason: "Unregistered", Timestamp: time.Now()},
		"wrong-app": {Status: 400, Reason: "DeviceTokenNotForTopic"},
		tooMany:     {Status: 429, Reason: "TooManyRequests", RetryAfter: retryAfter},
		unavailable: {Status: 503, Reason: "ServiceUnavailable", RetryAfter: retryAfter},
		"bad-key":   {Status: 403, Reason: "InvalidProviderToken"},
		hang:        {Hang: true},
		drop:        {Drop: true},
	}
	return Kind{
		Name: "apns", Driver: "apns", What: "the Apple Push Notification service",
		Answers: map[string]string{
			gone: "410 Unregistered", "wrong-app": "400 DeviceTokenNotForTopic", tooMany: "429 TooManyRequests",
			unavailable: "503 ServiceUnavailable", "bad-key": "403 InvalidProviderToken", hang: "no answer", drop: "the connection is cut",
		},
		start: func(o Options) (*Peer, error) {
			s, err := apnssim.Start(apnssim.Options{
				Addr: o.Addr, Log: o.Log,
				Answer: func(apnssim.Kick) apnssim.Answer { return answers[o.Answer] },
				OnKick: func(k apnssim.Kick) {
					o.OnPush(Push{To: k.Token, Text: fmt.Sprintf("%s, priority %d, topic %s: %s", k.PushType, k.Priority, k.Topic, line(k.Body))})
				},
			})
			token := strings.Repeat("0123456789abcdef", 4)
			return opened(s, err, o.Dir, func() (map[string]any, error) { return s.Entry(o.Dir), nil }, always(map[string]any{"token": token}))
		},
	}
}

func fcmKind() Kind {
	answers := map[string]fcmsim.Answer{
		"":          {},
		gone:        {Status: 404, Code: "UNREGISTERED"},
		"wrong-app": {Status: 403, Code: "SENDER_ID_MISMATCH"},
		tooMany:     {Status: 429, Code: "QUOTA_EXCEEDED", RetryAfter: retryAfter},
		unavailable: {Status: 503, Code: "UNAVAILABLE", RetryAfter: retryAfter},
		hang:        {Hang: true},
		drop:        {Drop: true},
	}
	return Kind{
		Name: "fcm", Driver: "fcm", What: "Firebase Cloud Messaging and its token endpoint",
		Answers: map[string]string{
			gone: "404 UNREGISTERED", "wrong-app": "403 SENDER_ID_MISMATCH", tooMany: "429 QUOTA_EXCEEDED",
			unavailable: "503 UNAVAILABLE", hang: "no answer", drop: "the connection is cut",
		},
		start: func(o Options) (*Peer, error) {
			s, err := fcmsim.Start(fcmsim.Options{
				Addr: o.Addr, Log: o.Log,
				Answer: func(fcmsim.Kick) fcmsim.Answer { return answers[o.Answer] },
				OnKick: func(k fcmsim.Kick) {
					o.OnPush(Push{To: k.Token, Text: fmt.Sprintf("priority %s, ttl %v, data %v", k.Priority, k.TTL, k.Data)})
				},
			})
			target := map[string]any{"token": "phone-1:APA91bSimulatedRegistrationToken"}
			return opened(s, err, o.Dir, func() (map[string]any, error) { return s.Entry(o.Dir), nil }, always(target))
		},
	}
}

func webpushKind() Kind {
	wait := map[string][]string{"Retry-After": {fmt.Sprint(retryAfter.Seconds())}}
	answers := map[string]webpushsim.Answer{
		"":          {},
		gone:        {Status: 410},
		refused:     {Status: 403},
		tooMany:     {Status: 429, Header: wait},
		unavailable: {Status: 503, Header: wait},
		"too-large": {Status: 413},
		hang:        {Hang: true},
	}
	return Kind{
		Name: "webpush", Driver: "webpush", What: "a Web Push service, as browsers and UnifiedPush have them",
		Answers: map[string]string{
			gone: "410", refused: "403", tooMany: "429", unavailable: "503", "too-large": "413", hang: "no answer",
		},
		start: func(o Options) (*Peer, error) {
			s, err := webpushsim.Start(webpushsim.Options{
				Addr: o.Addr, Log: o.Log,
				Answer: func(webpushsim.Kick) webpushsim.Answer { return answers[o.Answer] },
				OnKick: func(k webpushsim.Kick) {
					o.OnPush(Push{To: k.Endpoint, Text: fmt.Sprintf("TTL %d, Urgency %s, Topic %s: %s", k.TTL, k.Urgency, k.Topic, line(k.Data))})
				},
			})
			return opened(s, err, o.Dir, func() (map[string]any, error) { return s.Entry(o.Dir), nil }, func() (map[string]any, error) {
				sub, err := s.Subscribe()
				keys := map[string]any{"p256dh": sub.Keys.P256DH, "auth": sub.Keys.Auth}
				return map[string]any{"endpoint": sub.Endpoint, "keys": keys}, err
			})
		},
	}
}

func webhookKind() Kind {
	answers := map[string]webhooksim.Answer{
		"":          {},
		gone:        {Status: 410},
		refused:     {Status: 403},
		tooMany:     {Status: 429, RetryAfter: int(retryAfter.Seconds())},
		unavailable: {Status: 503, RetryAfter: int(retryAfter.Seconds())},
		hang:        {Hang: true},
	}
	return Kind{
		Name: "webhook", Driver: "webhook", What: "a receiver of signed kicks, as you would write one",
		Answers: map[string]string{gone: "410", refused: "403", tooMany: "429", unavailable: "503", hang: "no answer"},
		start: func(o Options) (*Peer, error) {
			s, err := webhooksim.Start(webhooksim.Options{
				Addr: o.Addr, Log: o.Log,
				Answer: func(webhooksim.Kick) webhooksim.Answer { return answers[o.Answer] },
				OnKick: func(k webhooksim.Kick) {
					o.OnPush(Push{To: k.ID, Text: fmt.Sprintf("message %s, data %v, code %q", k.Message, k.Data, k.Confirm)})
				},
			})
			return opened(s, err, o.Dir, func() (map[string]any, error) { return s.Entry(o.Dir), nil }, always(map[string]any{"id": "lamp-7"}))
		},
	}
}

// line shows a body in one line.
func line(b []byte) string {
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "(empty)"
	}
	return strings.ReplaceAll(string(b), "\n", " ")
}
