#include "textflag.h"

// func sumAVX2(p *byte, n int) uint64
//
// Adds n bytes at p, n a multiple of 64 and not 0, as little-endian 32-bit words. Each
// pair of words, as one 64-bit number, goes into one sum, which wraps, and its upper word
// alone into another, which cannot for any n that memory holds:
//
//	whole = (lower + upper<<32) mod 2^64    so    lower = (whole - upper<<32) mod 2^64
//
// That is three operations for 32 bytes, where widening each word takes more.
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ  p+0(FP), SI
	MOVQ  n+8(FP), CX
	VPXOR Y0, Y0, Y0 // whole
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2 // upper
	VPXOR Y3, Y3, Y3

loop:
	VMOVDQU 0(SI), Y4
	VMOVDQU 32(SI), Y5
	VPADDQ  Y4, Y0, Y0
	VPADDQ  Y5, Y1, Y1
	VPSRLQ  $32, Y4, Y4
	VPSRLQ  $32, Y5, Y5
	VPADDQ  Y4, Y2, Y2
	VPADDQ  Y5, Y3, Y3
	ADDQ    $64, SI
	SUBQ    $64, CX
	JNZ     loop

	VPADDQ       Y1, Y0, Y0
	VPADDQ       Y3, Y2, Y2
	VPSLLQ       $32, Y2, Y4
	VPSUBQ       Y4, Y0, Y0 // lower
	VPADDQ       Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ       X1, X0, X0
	VPSRLDQ      $8, X0, X1
	VPADDQ       X1, X0, X0
	VMOVQ        X0, AX
	VZEROUPPER
	MOVQ         AX, ret+16(FP)
	RET
