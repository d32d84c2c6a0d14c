package webpushsim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// The header of a message (RFC 8188, section 2.1) with a point of P-256 as the
// key's name: salt, size of records, length of the name, name.
const (
	saltEnd  = 16
	sizeEnd  = saltEnd + 4
	nameAt   = sizeEnd + 1
	nameSize = 65
	nameEnd  = nameAt + nameSize
)

// open decrypts a message of one record as a user agent does (RFC 8291).
func open(b []byte, own *ecdh.PrivateKey, auth []byte) ([]byte, error) {
	if len(b) < nameEnd || b[sizeEnd] != nameSize {
		return nil, errors.New("its header is too short or names no key")
	}
	salt, size, name, record := b[:saltEnd], binary.BigEndian.Uint32(b[saltEnd:]), b[nameAt:nameEnd], b[nameEnd:]
	sender, err := ecdh.P256().NewPublicKey(name)
	if err != nil {
		return nil, err
	}
	if uint64(len(record)) > uint64(size) {
		return nil, errors.New("it has more than one record")
	}
	gcm, nonce, err := keyFor(own, sender, auth, salt)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, err
	}
	plain = bytes.TrimRight(plain, "\x00") // padding
	plain, ok := bytes.CutSuffix(plain, []byte{2})
	if !ok {
		return nil, errors.New("its last record is not marked as such")
	}
	return plain, nil
}

// keyFor derives what one message is encrypted with (RFC 8291, section 3.4).
func keyFor(own *ecdh.PrivateKey, sender *ecdh.PublicKey, auth, salt []byte) (cipher.AEAD, []byte, error) {
	shared, err := own.ECDH(sender)
	if err != nil {
		return nil, nil, err
	}
	info := "WebPush: info\x00" + string(own.PublicKey().Bytes()) + string(sender.Bytes())
	ikm, err := hkdf.Key(sha256.New, shared, auth, info, 32)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	gcm, err := cipher.NewGCM(block)
	return gcm, nonce, err
}
