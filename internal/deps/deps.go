//go:build deps

// Package deps pins.
package deps

import (
	_ "github.com/SherClockHolmes/webpush-go"
	_ "github.com/eclipse/paho.golang/autopaho"
	_ "github.com/golang-jwt/jwt/v5"
	_ "github.com/mochi-mqtt/server/v2"
	_ "github.com/sideshow/apns2"
	_ "github.com/standard-webhooks/standard-webhooks/libraries/go"
	_ "golang.org/x/oauth2/jwt"
	_ "golang.org/x/net/http2"
)
