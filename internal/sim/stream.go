package sim

import (
	"bytes"
	"encoding/binary"
)

// stream is the content of one direction: a byte for every position, so that
// neither end stores what it sends and any byte can be checked where it appears.
type stream uint64

func (s stream) word(i uint64) uint64 {
	z := uint64(s) + i*0x9e3779b97f4a7c15 // splitmix64
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// at is the byte at position p; positions before the first byte read as 0.
func (s stream) at(p int64) byte {
	if p < 0 {
		return 0
	}
	return byte(s.word(uint64(p)>>3) >> (8 * (uint64(p) & 7)))
}

// read fills b with the bytes from p on.
func (s stream) read(p int64, b []byte) {
	for len(b) > 0 && (p < 0 || p&7 != 0) {
		b[0] = s.at(p)
		p, b = p+1, b[1:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, s.word(uint64(p)>>3))
		p, b = p+8, b[8:]
	}
	for i := range b {
		b[i] = s.at(p + int64(i))
	}
}

// differs is the index of the first byte of b that is not the stream's at p, or -1.
func (s stream) differs(p int64, b []byte) int {
	want := make([]byte, len(b))
	s.read(p, want)
	if bytes.Equal(b, want) {
		return -1
	}
	for i := range b {
		if b[i] != want[i] {
			return i
		}
	}
	return -1
}
