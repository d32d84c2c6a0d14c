package apnssim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// KeyID and TeamID are what Apple would show beside the signing key.
const (
	KeyID  = "EDITIONKEY"
	TeamID = "EDITIONSIM"
)

// Names of the files that WriteFiles writes.
const (
	FileCA          = "apns-ca.pem"         // whom senders have to believe
	FileKey         = "apns-key.p8"         // the signing key of provider tokens
	FileCertificate = "apns-client.pem"     // a push certificate with its chain …
	FileClientKey   = "apns-client-key.pem" // … and key
)

// secrets are made anew for each server.
type secrets struct {
	ca     *x509.Certificate
	roots  *x509.CertPool
	server tls.Certificate
	client tls.Certificate
	signer *ecdsa.PrivateKey // of provider tokens
}

// Extensions of push certificates, see Apple's certification practice
// statement.
var (
	oidProduction = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 2}
	oidTopics     = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}
	oidUserID     = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
)

func newSecrets(topics []string) (s secrets, err error) {
	if len(topics) == 0 {
		return s, errors.New("no topics")
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return s, err
	}
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Edition APNs simulator"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	made, err := sign(ca, ca, authority, authority)
	if err != nil {
		return s, err
	}
	s.ca = made.Leaf
	s.roots = x509.NewCertPool()
	s.roots.AddCert(s.ca)
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if s.server, err = s.issue(server, authority); err != nil {
		return s, err
	}
	list, err := topicsExtension(topics)
	if err != nil {
		return s, err
	}
	client := &x509.Certificate{
		Subject: pkix.Name{
			CommonName: "Apple Push Services: " + topics[0],
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidUserID, Value: topics[0]}},
		},
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		ExtraExtensions: []pkix.Extension{{Id: oidProduction, Value: asn1.NullBytes}, {Id: oidTopics, Value: list}},
	}
	if s.client, err = s.issue(client, authority); err != nil {
		return s, err
	}
	s.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return s, err
}

// topicsExtension lists topics as Apple does: each followed by a sequence of
// what it is for.
func topicsExtension(topics []string) ([]byte, error) {
	var list []asn1.RawValue
	for _, t := range topics {
		name, err := asn1.MarshalWithParams(t, "utf8")
		if err != nil {
			return nil, err
		}
		list = append(list, asn1.RawValue{FullBytes: name}, asn1.RawValue{FullBytes: []byte{0x30, 0x05, 0x0c, 0x03, 'a', 'p', 'p'}})
	}
	return asn1.Marshal(list)
}

func (s *secrets) issue(c *x509.Certificate, authority *ecdsa.PrivateKey) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c.KeyUsage = x509.KeyUsageDigitalSignature
	return sign(c, s.ca, key, authority)
}

// sign makes a certificate that is valid for a year.
func sign(c, parent *x509.Certificate, key, authority *ecdsa.PrivateKey) (tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	c.SerialNumber = serial
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), authority)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// WriteFiles writes into a folder what a sender needs, under the names that
// begin with File. They fit this server alone.
func (s *Server) WriteFiles(dir string) error {
	return errors.Join(
		writePEM(dir, FileCA, "CERTIFICATE", s.secrets.ca.Raw),
		writeKey(dir, FileKey, s.secrets.signer),
		writePEM(dir, FileCertificate, "CERTIFICATE", s.secrets.client.Certificate[0]),
		writeKey(dir, FileClientKey, s.secrets.client.PrivateKey),
	)
}

// Entry returns the keys of an entry of the driver apns that pushes to this
// server, with the files that WriteFiles has written.
func (s *Server) Entry(dir string) map[string]any {
	return map[string]any{
		"driver":    "apns",
		"host":      s.URL(),
		"topics":    s.options.Topics,
		"token_key": map[string]any{"file": filepath.Join(dir, FileKey)},
		"key_id":    KeyID,
		"team_id":   TeamID,
		"tls":       map[string]any{"ca_file": filepath.Join(dir, FileCA)},
	}
}

func writeKey(dir, name string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(dir, name, "PRIVATE KEY", der)
}

func writePEM(dir, name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
