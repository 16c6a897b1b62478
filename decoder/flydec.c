/* flydec: reads a .fly file (Flyweight's container of coded weights). One C99 file, no dependencies.
 *
 * As a library: fly_open on the file's bytes, then fly_decode for each tensor wanted; docs/format.md describes the bytes.
 * Where the file is read piece by piece: fly_open_head on its first bytes, then fly_decode_from for each tensor's own.
 * As a program (FLYDEC_MAIN defined): flydec FILE.fly [OUT]
 *   without OUT it lists the tensors; with OUT it writes all of them, in the machine's byte order, one after the other.
 *
 *     cc -O2 -std=c99 -DFLYDEC_MAIN flydec.c -o flydec
 *
 * Every length is checked before it is used: a damaged file gives an error, never a read or a write out of bounds.
 * Licence: Apache-2.0.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FLY_TOTAL_BITS 14
#define FLY_TOTAL (1u << FLY_TOTAL_BITS)
#define FLY_BUCKET_BITS 4
#define FLY_BUCKETS (FLY_TOTAL >> FLY_BUCKET_BITS)
#define FLY_KNOTS 29
#define FLY_MAX_TABLES 250
#define FLY_MAX_TENSORS 65536u
#define FLY_MAX_VALUES (1u << 28)
#define FLY_MAX_HEAD (1u << 26)
#define FLY_MOST_A_BYTE 65536u
#define FLY_MAX_AXES 8
#define FLY_MAX_CLASS 1000
#define FLY_CODE_BITS 12 /* of a Huffman code */
#define FLY_BLOCK 1024   /* Huffman codes of a block */
#define FLY_NAME_BYTES 256 /* a longer name is cut for the listing; it is still told apart by its index */

enum { FLY_OK = 0, FLY_NOT_FLY = 1, FLY_VERSION = 2, FLY_DAMAGED = 3, FLY_MEMORY = 4 };

typedef struct {
    const uint8_t *data;
    size_t at, end;
    int bad;
} fly_cursor;

typedef struct {
    char name[FLY_NAME_BYTES];
    uint8_t kind, dtype, axes; /* kind 0: as it is, 1: coded, 2: shared; dtype 0 f4, 1 f2, 2 i8, 3 i4, 4 u1 */
    uint32_t shape[FLY_MAX_AXES];
    uint32_t values;           /* how many numbers */
    uint32_t checksum;
    size_t offset, bytes;      /* in the file */
} fly_record;

typedef struct {
    uint32_t limit;            /* largest magnitude; symbols 0 .. 2 * limit, then the escape */
    uint32_t *part;            /* 2 * limit + 3: a symbol's frequency, and 65536 times where its slots start */
    uint16_t *lookup;          /* the symbol of the first slot of each bucket: small enough to stay in the cache */
} fly_table;

typedef struct {
    const uint8_t *data;
    size_t size;
    uint32_t tables, tensors;
    fly_table table[FLY_MAX_TABLES];
    fly_record *record;
    const uint8_t *description; /* zlib (RFC 1950) of a JSON object */
    size_t description_bytes;
} fly_file;

static const uint16_t fly_knots[FLY_KNOTS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,   10,  12,  14,  16,  20, 24,
                                              28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 255};
static const uint8_t fly_sizes[5] = {4, 2, 8, 4, 1};

static uint32_t fly_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t fly_u16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static uint32_t fly_crc(const uint8_t *p, size_t n) { /* CRC-32 as in zlib, four bits at a time */
    static const uint32_t nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t c = 0xffffffffu;
    while (n--) {
        c = nibble[(c ^ *p) & 15] ^ (c >> 4);
        c = nibble[(c ^ (uint32_t)(*p++ >> 4)) & 15] ^ (c >> 4);
    }
    return ~c;
}

static const uint8_t *fly_take(fly_cursor *c, size_t n) {
    static const uint8_t zeros[64] = {0};
    if (c->bad || n > c->end - c->at) {
        c->bad = 1;
        return n <= sizeof zeros ? zeros : NULL;
    }
    c->at += n;
    return c->data + c->at - n;
}

static uint64_t fly_number(fly_cursor *c) {
    uint64_t total = 0;
    int shift;
    for (shift = 0; shift < 35; shift += 7) {
        uint8_t byte = *fly_take(c, 1);
        total |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return total;
    }
    c->bad = 1;
    return 0;
}

void fly_close(fly_file *f) {
    uint32_t i;
    for (i = 0; i < f->tables; i++) {
        free(f->table[i].part);
        free(f->table[i].lookup);
    }
    free(f->record);
    memset(f, 0, sizeof *f);
}

static int fly_read_table(fly_cursor *c, fly_table *t) {
    uint32_t knot[FLY_KNOTS], magnitude[256], i, j, count, symbols, sum = 0, left;
    uint64_t wanted = fly_number(c);
    if (c->bad || wanted < 1 || wanted > FLY_KNOTS) return FLY_DAMAGED;
    count = (uint32_t)wanted;
    for (i = 0; i < count; i++) {
        wanted = fly_number(c);
        if (c->bad || wanted < 1 || wanted >= FLY_TOTAL) return FLY_DAMAGED;
        knot[i] = (uint32_t)wanted;
    }
    magnitude[0] = sum = knot[0];
    for (i = 1; i < count; i++) { /* straight lines between the knots */
        uint32_t gap = (uint32_t)(fly_knots[i] - fly_knots[i - 1]);
        for (j = 1; j <= gap; j++) {
            uint32_t f = (knot[i - 1] * (gap - j) + knot[i] * j) / gap;
            magnitude[fly_knots[i - 1] + j] = f;
            sum += 2 * f;
        }
    }
    if (sum >= FLY_TOTAL) return FLY_DAMAGED;
    t->limit = fly_knots[count - 1];
    symbols = 2 * t->limit + 2;
    t->part = malloc((symbols + 1) * sizeof *t->part);
    t->lookup = malloc(FLY_BUCKETS * sizeof *t->lookup);
    if (!t->part || !t->lookup) return FLY_MEMORY;
    for (i = 0, left = 0; i < symbols; i++) {
        uint32_t f = i + 1 == symbols ? FLY_TOTAL - sum : magnitude[(i + 1) / 2];
        t->part[i] = f | left << 16;
        for (j = 0; j < f; j++, left++)
            if (left % (1u << FLY_BUCKET_BITS) == 0) t->lookup[left >> FLY_BUCKET_BITS] = (uint16_t)i;
    }
    t->part[symbols] = FLY_TOTAL << 16; /* where the search ends */
    return FLY_OK;
}

static int fly_read_record(fly_cursor *c, fly_record *r, uint8_t *name, uint32_t *name_bytes, size_t *offset) {
    uint32_t i, same = *fly_take(c, 1), kept;
    uint64_t more = fly_number(c), bytes, values = 1;
    const uint8_t *text, *p;
    if (c->bad || same > *name_bytes || more > c->end - c->at) return FLY_DAMAGED;
    text = fly_take(c, (size_t)more);
    kept = same < FLY_NAME_BYTES - 1 ? same : FLY_NAME_BYTES - 1;
    for (i = 0; i < more && kept < FLY_NAME_BYTES - 1; i++) name[kept++] = text[i];
    *name_bytes = same + (uint32_t)more;
    memcpy(r->name, name, kept);
    r->name[kept] = 0;
    p = fly_take(c, 3);
    r->kind = p[0], r->dtype = p[1], r->axes = p[2];
    if (c->bad || r->kind > 2 || r->dtype > 4 || r->axes > FLY_MAX_AXES || (r->kind && r->dtype)) return FLY_DAMAGED;
    for (i = 0; i < r->axes; i++) {
        uint64_t axis = fly_number(c);
        if (axis > FLY_MAX_VALUES) return FLY_DAMAGED;
        r->shape[i] = (uint32_t)axis;
    }
    for (i = 0; i < r->axes; i++)
        if (r->shape[i] == 0) values = 0;
    for (i = 0; i < r->axes && values; i++) {
        values *= r->shape[i];
        if (values > FLY_MAX_VALUES) return FLY_DAMAGED;
    }
    bytes = fly_number(c);
    r->checksum = fly_u32(fly_take(c, 4));
    if (c->bad || (!r->kind && bytes != values * fly_sizes[r->dtype])) return FLY_DAMAGED;
    if (r->kind && (!values || values > bytes * FLY_MOST_A_BYTE)) return FLY_DAMAGED;
    r->values = (uint32_t)values;
    r->offset = *offset, r->bytes = (size_t)bytes;
    *offset += r->bytes;
    return FLY_OK;
}

/* Read a file's head from its first `given` bytes; the file has `size`. `data` must outlive `f`; fly_decode_from decodes.
 * After any return, fly_close(f) frees what was taken. */
int fly_open_head(fly_file *f, const uint8_t *data, size_t given, size_t size) {
    static const uint8_t magic[8] = {0x89, 'F', 'L', 'Y', '\r', '\n', 0x1a, '\n'};
    fly_cursor c;
    uint8_t name[FLY_NAME_BYTES];
    uint32_t head, i, name_bytes = 0;
    uint64_t count;
    size_t offset;
    int error;
    memset(f, 0, sizeof *f);
    f->size = size;
    if (given < 32 || size < given || memcmp(data, magic, 8)) return FLY_NOT_FLY;
    if (fly_u32(data + 28) != fly_crc(data, 28)) return FLY_DAMAGED;
    if (fly_u16(data + 8) != 1 || fly_u16(data + 10)) return FLY_VERSION;
    head = fly_u32(data + 12);
    if ((uint64_t)fly_u32(data + 20) << 32 != ((uint64_t)size & 0xffffffff00000000u) || fly_u32(data + 16) != (uint32_t)size)
        return FLY_DAMAGED;
    if (head > FLY_MAX_HEAD || head > given - 32 || fly_crc(data + 32, head) != fly_u32(data + 24)) return FLY_DAMAGED;
    c.data = data + 32, c.at = 0, c.end = head, c.bad = 0;
    count = fly_number(&c);
    if (count > FLY_MAX_TABLES) return FLY_DAMAGED;
    for (i = 0; i < count; i++) {
        f->tables = i + 1;
        if ((error = fly_read_table(&c, &f->table[i])) != FLY_OK) return error;
    }
    count = fly_number(&c);
    if (c.bad || count > FLY_MAX_TENSORS || count > head / 8) return FLY_DAMAGED; /* a record takes more than 8 bytes */
    f->record = calloc(count ? (size_t)count : 1, sizeof *f->record);
    if (!f->record) return FLY_MEMORY;
    for (i = 0, offset = (size_t)head + 32; i < count; i++) {
        if ((error = fly_read_record(&c, &f->record[i], name, &name_bytes, &offset)) != FLY_OK) return error;
        f->tensors = i + 1;
        if (offset > size) return FLY_DAMAGED;
    }
    count = fly_number(&c);
    if (c.bad || count > c.end - c.at) return FLY_DAMAGED;
    f->description_bytes = (size_t)count;
    f->description = fly_take(&c, f->description_bytes);
    return c.at != c.end || offset != size ? FLY_DAMAGED : FLY_OK;
}

/* Read the head of a file that is in memory as a whole. */
int fly_open(fly_file *f, const uint8_t *data, size_t size) {
    int error = fly_open_head(f, data, size, size);
    f->data = data;
    return error;
}

/* Bytes of a fly_file, for callers that can't include this file. */
size_t fly_file_bytes(void) { return sizeof(fly_file); }

/* How a stream's symbols find their tables (all in one, or by the classes of row and column) and their values. */
typedef struct {
    int32_t base, low, high;
    uint32_t columns;
    float step;
    const int32_t *row, *column;           /* NULL: class 0 everywhere */
    const int32_t *row_step, *column_step; /* half octaves; NULL: 0 everywhere */
} fly_context;

static float fly_power(int32_t halves) { /* 2 ** (halves / 2), -60 to 60; exact but for one constant */
    uint32_t whole = (uint32_t)(halves + 60) >> 1;
    float power = whole < 30 ? 1.0f / (float)(1u << (30 - whole)) : (float)(1u << (whole - 30));
    return halves & 1 ? 1.41421354f * power : power;
}

/* A lane's next symbol; `*more` where its state takes a word. */
static inline uint32_t fly_next(uint32_t *state, const fly_table *table, uint32_t word, uint32_t *more) {
    uint32_t x = *state, slot = x & (FLY_TOTAL - 1), symbol = table->lookup[slot >> FLY_BUCKET_BITS], part;
    while (slot >= table->part[symbol + 1] >> 16) symbol++;
    part = table->part[symbol];
    x = (part & 65535u) * (x >> FLY_TOTAL_BITS) + slot - (part >> 16);
    *more = x < 65536u;
    *state = *more ? x << 16 | word : x;
    return symbol;
}

static int32_t fly_value(uint32_t symbol) { /* 0, 1, -1, 2, -2 ... */
    int32_t half = (int32_t)((symbol + 1) >> 1);
    return symbol & 1 ? half : -half;
}

/* Decode n symbols; exactly one of `whole` and `real` is given, real = whole * the row's step * the column's. */
static int fly_stream(const fly_file *f, fly_cursor *c, uint32_t n, const fly_context *k, int32_t *whole, float *real) {
    uint64_t words = fly_number(c), escapes = fly_number(c);
    uint32_t lanes = n / 2048 < 1 ? 1 : n / 2048 > 4096 ? 4096 : n / 2048;
    static const uint8_t none[2] = {0, 0};
    uint32_t *state, more, lane, t = 0, row = 0, column, columns = k->columns ? k->columns : n;
    float *across = NULL;
    const uint8_t *word, *escape, *escape_end, *p;
    const fly_table *table = &f->table[k->low];
    size_t at = 0;
    int error = FLY_DAMAGED;
    if (c->bad || 4 * (uint64_t)lanes + 2 * words + 4 * escapes > c->end - c->at) return FLY_DAMAGED;
    p = fly_take(c, 4 * (size_t)lanes);
    word = fly_take(c, 2 * (size_t)words);
    escape = fly_take(c, 4 * (size_t)escapes), escape_end = escape + 4 * escapes;
    if (!n) return FLY_OK;
    state = malloc(lanes * sizeof *state);
    if (real) across = malloc(columns * sizeof *across);
    if (!state || (real && !across)) {
        error = FLY_MEMORY;
        goto done;
    }
    for (column = 0; across && column < columns; column++)
        across[column] = k->column_step ? fly_power(k->column_step[column]) : 1.0f;
    for (lane = 0; lane < lanes; lane++) state[lane] = fly_u32(p + 4 * lane);
    for (lane = 0; t < n; row++) {
        int32_t base = k->base + (k->row ? k->row[row] : 0);
        float step = k->row_step ? k->step * fly_power(k->row_step[row]) : k->step;
        for (column = 0; column < columns; column++, t++) {
            int32_t own = base + (k->column ? k->column[column] : 0), value;
            uint32_t symbol;
            own = own < k->low ? k->low : own > k->high ? k->high : own;
            table = &f->table[own];
            symbol = fly_next(&state[lane], table, fly_u16(at < words ? word + 2 * at : none), &more);
            at += more;
            value = fly_value(symbol);
            if (symbol == 2 * table->limit + 1) {
                uint32_t u;
                if (escape == escape_end) goto done;
                u = fly_u32(escape);
                memcpy(&value, &u, 4);
                escape += 4;
            }
            if (real) real[t] = (float)value * step * across[column];
            else whole[t] = value;
            if (++lane == lanes) lane = 0;
        }
    }
    for (; lane && lane < lanes; lane++) { /* what fills the last step keeps the last table */
        fly_next(&state[lane], table, fly_u16(at < words ? word + 2 * at : none), &more);
        at += more;
    }
    if (at != words || escape != escape_end) goto done;
    for (lane = 0; lane < lanes; lane++)
        if (state[lane] != 65536u) goto done;
    error = FLY_OK;
done:
    free(across);
    free(state);
    return error;
}

static int fly_classes(const fly_file *f, fly_cursor *c, uint32_t n, uint32_t table, int32_t most, int32_t **out) {
    fly_context k = {0, 0, 0, 0, 0, NULL, NULL, NULL, NULL};
    uint32_t i;
    int error;
    if (n > (c->end - c->at) * (uint64_t)FLY_MOST_A_BYTE) return FLY_DAMAGED;
    k.base = k.low = k.high = (int32_t)table;
    *out = malloc((n ? n : 1) * sizeof **out);
    if (!*out) return FLY_MEMORY;
    if ((error = fly_stream(f, c, n, &k, *out, NULL)) != FLY_OK) return error;
    for (i = 0; i < n; i++)
        if ((*out)[i] < -most || (*out)[i] > most) return FLY_DAMAGED;
    return FLY_OK;
}

static int fly_coded(const fly_file *f, const fly_record *r, const uint8_t *data, float *out) {
    fly_cursor c;
    fly_context k = {0, 0, 0, 0, 0, NULL, NULL, NULL, NULL};
    int32_t *side[4] = {NULL, NULL, NULL, NULL};
    uint32_t i, bits, rows = 1, columns = 1;
    const uint8_t *p;
    int error = FLY_OK;
    c.data = data, c.at = 0, c.end = r->bytes, c.bad = 0;
    p = fly_take(&c, 12);
    bits = fly_u32(p);
    memcpy(&k.step, &bits, 4);
    k.low = p[5], k.high = p[6], k.base = (int32_t)fly_u16(p + 7);
    if (k.base > 32767) k.base -= 65536;
    if (c.bad || !bits || bits > 0x4e800000u /* 2 ** 30 */ || p[4] > 15 || k.low > k.high || (uint32_t)k.high >= f->tables ||
        p[9] >= f->tables || p[10] >= f->tables || p[11] >= f->tables || k.base < -FLY_MAX_CLASS || k.base > FLY_MAX_CLASS)
        return FLY_DAMAGED;
    if (r->axes >= 2) rows = r->shape[0];
    for (i = r->axes >= 2; i < r->axes; i++) columns *= r->shape[i]; /* there is a value: no axis is 0 */
    k.columns = columns;
    for (i = 0; i < 4 && error == FLY_OK; i++)
        if (p[4] >> i & 1)
            error = fly_classes(f, &c, i & 1 ? columns : rows, p[i < 2 ? 9 + i : 11], i < 2 ? FLY_MAX_CLASS : 60, &side[i]);
    k.row = side[0], k.column = side[1], k.row_step = side[2], k.column_step = side[3];
    if (error == FLY_OK) error = fly_stream(f, &c, r->values, &k, NULL, out);
    for (i = 0; i < 4; i++) free(side[i]);
    return error != FLY_OK ? error : c.at != c.end ? FLY_DAMAGED : FLY_OK;
}

/* Shared values (Deep Compression): Huffman codes of what is not zero and of the gaps between. */
typedef struct {
    uint16_t slot[1 << FLY_CODE_BITS]; /* for each of the next bits: 16 times the symbol, plus the bits it takes */
    const uint8_t *end, *data;         /* where each block ends, 2 bytes each; the codes */
    size_t bytes;
    uint64_t at, limit;                /* bits read, and where the current block ends */
} fly_code;

static int fly_lengths(fly_cursor *c, uint32_t symbols, fly_code *k) {
    const uint8_t *p = fly_take(c, (symbols + 1) / 2);
    uint32_t length, i, used = 0, sum = 0, at = 0;
    if (c->bad) return FLY_DAMAGED;
    if (symbols & 1 && p[symbols / 2] >> 4) return FLY_DAMAGED;
    for (i = 0; i < symbols; i++) {
        length = (uint32_t)p[i / 2] >> (i & 1 ? 4 : 0) & 15u;
        if (length > FLY_CODE_BITS) return FLY_DAMAGED;
        used += length != 0;
        sum += length ? (1u << FLY_CODE_BITS) >> length : 0;
    }
    if (used != 1 && sum != 1u << FLY_CODE_BITS) return FLY_DAMAGED;
    if (used == 1 && sum != 1u << (FLY_CODE_BITS - 1)) return FLY_DAMAGED; /* one alone has length 1, and no bits */
    for (length = 1; length <= FLY_CODE_BITS; length++)
        for (i = 0; i < symbols; i++) {
            uint32_t j, n = used == 1 ? 1u << FLY_CODE_BITS : (1u << FLY_CODE_BITS) >> length;
            if (((uint32_t)p[i / 2] >> (i & 1 ? 4 : 0) & 15u) != length) continue;
            for (j = 0; j < n; j++) k->slot[at++] = (uint16_t)(i << 4 | (used == 1 ? 0 : length));
        }
    return FLY_OK;
}

static void fly_blocks(fly_cursor *c, uint32_t blocks, fly_code *k) {
    uint32_t i;
    uint64_t bits = 0;
    k->at = k->limit = 0;
    k->end = fly_take(c, 2 * (size_t)blocks);
    for (i = 0; !c->bad && i < blocks; i++) bits += fly_u16(k->end + 2 * (size_t)i);
    k->bytes = (size_t)((bits + 7) / 8);
}

static uint32_t fly_symbol(fly_code *k) {
    size_t byte = (size_t)(k->at >> 3);
    uint32_t part, i, bits = 0;
    for (i = 0; i < 3; i++) bits = bits << 8 | (byte + i < k->bytes ? k->data[byte + i] : 0u);
    part = k->slot[bits >> (24 - FLY_CODE_BITS - (k->at & 7)) & ((1u << FLY_CODE_BITS) - 1)];
    k->at += part & 15u;
    return part >> 4;
}

static int fly_shared(const fly_record *r, const uint8_t *data, float *out) {
    fly_cursor c;
    const uint8_t *p, *book;
    uint64_t count, values, gaps, place = 0;
    uint32_t i, j, u;
    int error = FLY_DAMAGED;
    fly_code *k;
    c.data = data, c.at = 0, c.end = r->bytes, c.bad = 0;
    p = fly_take(&c, 2);
    count = fly_number(&c), values = fly_number(&c), gaps = fly_number(&c);
    if (c.bad || p[0] < 1 || p[0] > 8 || p[1] < 1 || p[1] > 8 || values >= 1u << p[0] || gaps < 1 || gaps > 1u << p[1] ||
        count < 1 || count > r->values)
        return FLY_DAMAGED;
    if (!(k = malloc(2 * sizeof *k))) return FLY_MEMORY; /* 0: the weights, 1: the gaps in front of them */
    book = fly_take(&c, 4 * (size_t)values);
    if (c.bad || fly_lengths(&c, (uint32_t)values + 1, &k[0]) || fly_lengths(&c, (uint32_t)gaps, &k[1])) goto done;
    for (j = 0; j < 2; j++) fly_blocks(&c, ((uint32_t)count + FLY_BLOCK - 1) / FLY_BLOCK, &k[j]);
    for (j = 0; j < 2; j++) {
        if (c.bad || k[j].bytes > c.end - c.at) goto done;
        k[j].data = c.data + c.at, c.at += k[j].bytes;
    }
    if (c.at != c.end) goto done;
    for (i = 0; i < r->values; i++) out[i] = 0;
    for (i = 0; i < count; i++) {
        uint32_t symbol;
        for (j = 0; i % FLY_BLOCK == 0 && j < 2; j++) {
            if (k[j].at != k[j].limit) goto done;
            k[j].limit += fly_u16(k[j].end + 2 * (size_t)(i / FLY_BLOCK));
        }
        symbol = fly_symbol(&k[0]);
        place += fly_symbol(&k[1]) + 1u; /* one more than where this one is */
        if (place > r->values) goto done;
        if (!symbol) continue;
        u = fly_u32(book + 4 * (size_t)(symbol - 1));
        memcpy(&out[place - 1], &u, 4);
    }
    if (k[0].at == k[0].limit && k[1].at == k[1].limit && r->values - place < 1u << p[1]) error = FLY_OK;
done:
    free(k);
    return error;
}

/* Bytes that fly_decode writes for tensor `index`. */
size_t fly_bytes(const fly_file *f, uint32_t index) {
    return (size_t)f->record[index].values * fly_sizes[f->record[index].dtype];
}

/* Decode tensor `index` from its own bytes, record[index].bytes at record[index].offset of the file, into `out`:
 * fly_bytes(f, index) bytes, aligned for its type; coded tensors are float. The checksum is the caller's to check. */
int fly_decode_from(const fly_file *f, uint32_t index, const uint8_t *data, void *out) {
    const fly_record *r = &f->record[index];
    if (r->kind) return r->kind == 1 ? fly_coded(f, r, data, out) : fly_shared(r, data, out);
    if (r->bytes) memcpy(out, data, r->bytes);
    return FLY_OK;
}

/* Decode tensor `index` of a file that is in memory as a whole, after its checksum. */
int fly_decode(const fly_file *f, uint32_t index, void *out) {
    const fly_record *r = &f->record[index];
    if (!f->data || fly_crc(f->data + r->offset, r->bytes) != r->checksum) return FLY_DAMAGED;
    return fly_decode_from(f, index, f->data + r->offset, out);
}

#ifdef FLYDEC_MAIN
#include <stdio.h>
#include <time.h>

static const char *fly_error(int error) {
    return error == FLY_NOT_FLY   ? "not a .fly file"
           : error == FLY_VERSION ? "of a later version"
           : error == FLY_MEMORY  ? "not enough memory"
                                  : "damaged";
}

static int fail(const char *path, int error) {
    fprintf(stderr, "%s: %s\n", path, fly_error(error));
    return 2;
}

static uint8_t *load(const char *path, size_t *size) {
    FILE *in = fopen(path, "rb");
    uint8_t *data = NULL;
    long end;
    if (!in) return NULL;
    if (!fseek(in, 0, SEEK_END) && (end = ftell(in)) >= 0 && !fseek(in, 0, SEEK_SET)) {
        *size = (size_t)end;
        data = malloc(*size ? *size : 1);
        if (data && fread(data, 1, *size, in) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(in);
    return data;
}

static void list(const fly_file *f) {
    uint32_t i, j;
    for (i = 0; i < f->tensors; i++) {
        const fly_record *r = &f->record[i];
        printf("%s", r->name);
        for (j = 0; j < r->axes; j++) printf(j ? "x%lu" : " %lu", (unsigned long)r->shape[j]);
        printf(" %lu bytes\n", (unsigned long)r->bytes);
    }
}

static int decode_all(const fly_file *f, const char *path) {
    FILE *out = fopen(path, "wb");
    uint32_t i;
    int error = out ? FLY_OK : FLY_MEMORY;
    double seconds = 0, bytes = 0;
    for (i = 0; error == FLY_OK && i < f->tensors; i++) {
        size_t size = fly_bytes(f, i);
        void *values = malloc(size ? size : 1);
        clock_t begin = clock();
        error = values ? fly_decode(f, i, values) : FLY_MEMORY;
        seconds += (double)(clock() - begin) / CLOCKS_PER_SEC;
        bytes += (double)size;
        if (error == FLY_OK && fwrite(values, 1, size, out) != size) error = FLY_MEMORY;
        free(values);
    }
    if (out && fclose(out)) error = FLY_MEMORY;
    if (error == FLY_OK) printf("%lu tensors, %.0f bytes in %.4f s\n", (unsigned long)f->tensors, bytes, seconds);
    return error;
}

int main(int argc, char **argv) {
    fly_file f;
    size_t size = 0;
    uint8_t *data;
    int error;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: flydec FILE.fly [OUT]\n");
        return 2;
    }
    if (!(data = load(argv[1], &size))) {
        fprintf(stderr, "%s: can't be read\n", argv[1]);
        return 2;
    }
    error = fly_open(&f, data, size);
    if (error == FLY_OK && argc == 3) error = decode_all(&f, argv[2]);
    else if (error == FLY_OK) list(&f);
    fly_close(&f);
    free(data);
    return error == FLY_OK ? 0 : fail(argv[1], error);
}
#endif
