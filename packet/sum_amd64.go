package packet

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

//go:noescape
func sumAVX2(p *byte, n int) uint64

// sumBlocks is the sum of b, whose length is a multiple of 64, as little-endian 32-bit
// words.
func sumBlocks(b []byte) uint64 {
	if hasAVX2 && len(b) > 0 {
		return sumAVX2(&b[0], len(b))
	}
	return sumBlocksGeneric(b)
}
