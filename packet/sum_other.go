//go:build !amd64

package packet

func sumBlocks(b []byte) uint64 { return sumBlocksGeneric(b) }
