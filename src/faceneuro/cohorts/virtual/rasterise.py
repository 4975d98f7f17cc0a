"""Triangles to pixels: the inner loops, compiled once and cached.

Every loop runs on one thread in a fixed order and releases the interpreter lock, so pictures are repeatable and
shards can be rendered side by side.
"""

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

SAMPLES = 2
"""Depth samples per pixel along each axis; colours are computed once per pixel and surface."""

NORMAL, OCCLUSION, VISIBLE, UV, MASK_UV = 0, 3, 4, 5, 7
"""Columns of the vertex attributes that :func:`shade` interpolates: normal (3), ambient occlusion, share of the key
light that arrives, texture position (2), mask position (2)."""

ATTRIBUTES = 9


@compiled
def deform(rest, units, weights, out):
    """Add weighted unit displacements: ``out = rest + sum(weights[k] * units[k])``; shapes (n, 3), (k, n, 3), (k,)."""
    out[:] = rest
    for k in range(len(weights)):
        weight = weights[k]
        if weight != 0:
            for i in range(rest.shape[0]):
                out[i, 0] += weight * units[k, i, 0]
                out[i, 1] += weight * units[k, i, 1]
                out[i, 2] += weight * units[k, i, 2]


@compiled
def vertex_normals(vertices, triangles, out):
    """Unit normals, the mean of the adjoining triangles weighted by area, into ``out`` of shape (n_vertices, 3)."""
    out[:] = 0
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + np.float32(1e-12)
        out[i, 0] /= length
        out[i, 1] /= length
        out[i, 2] /= length


@numba.njit(nogil=True, error_model="numpy", inline="always")
def weights_at(px, py, ax, ay, bx, by, cx, cy):
    """Barycentric weights of a and b at a point; the third is 1 minus both."""
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    a = ((px - bx) * (by - cy) + (py - by) * (cx - bx)) / area
    b = ((px - cx) * (cy - ay) + (py - cy) * (ax - cx)) / area
    return a, b


@compiled
def visibility(x, y, nearness, triangles, two_sided, depth, index):
    """Nearest triangle at every sample.

    Parameters
    ----------
    x, y
        Vertex positions in samples (x right, y down), float32, shape (n_vertices,).
    nearness
        Positive, larger is nearer, linear on the screen (for a perspective camera the inverse distance).
    triangles
        Counter-clockwise when seen from the front, int32, shape (n_triangles, 3); the others are culled.
    two_sided
        Draw triangles seen from behind as well.
    depth, index
        Filled with the nearness (0 where empty) and the triangle number (-1 where empty), shape (height, width).
    """
    height, width = depth.shape
    depth[:] = 0
    index[:] = -1
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k]
        # Rows grow downwards, so a triangle seen from the front has a negative area.
        area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
        if area > -1e-9 and not (two_sided and area > 1e-9):
            continue
        left = max(0, int(np.ceil(min(x[a], x[b], x[c]) - 0.5)))
        right = min(width - 1, int(np.floor(max(x[a], x[b], x[c]) - 0.5)))
        top = max(0, int(np.ceil(min(y[a], y[b], y[c]) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(y[a], y[b], y[c]) - 0.5)))
        a_step, b_step = (y[b] - y[c]) / area, (y[c] - y[a]) / area
        for row in range(top, bottom + 1):
            wa, wb = weights_at(left + 0.5, row + 0.5, x[a], y[a], x[b], y[b], x[c], y[c])
            for column in range(left, right + 1):
                wc = 1 - wa - wb
                if wa >= 0 and wb >= 0 and wc >= 0:
                    near = wa * nearness[a] + wb * nearness[b] + wc * nearness[c]
                    if near > depth[row, column]:
                        depth[row, column] = near
                        index[row, column] = k
                wa += a_step
                wb += b_step


@compiled
def lit_from(vertices, triangles, direction, centre, half_width, bias, softness, depth, index, out):
    """Share of a distant light that reaches each vertex past the rest of the mesh.

    Parameters
    ----------
    vertices, triangles
        The mesh.
    direction
        Unit vector towards the light, shape (3,).
    centre, half_width
        The region that casts shadows.
    bias
        Distance within which a surface does not shade itself.
    softness
        Half the width of the penumbra, in texels of the shadow map.
    depth, index
        Work space, square.
    out
        Filled with 0 (shade) to 1 (full light), shape (n_vertices,).
    """
    size = depth.shape[0]
    count = vertices.shape[0]
    # Any two axes across the light will do.
    if abs(direction[1]) < 0.9:
        right = np.array([direction[2], 0.0, -direction[0]])
    else:
        right = np.array([0.0, -direction[2], direction[1]])
    right /= np.sqrt((right**2).sum())
    up = np.array(
        [
            direction[1] * right[2] - direction[2] * right[1],
            direction[2] * right[0] - direction[0] * right[2],
            direction[0] * right[1] - direction[1] * right[0],
        ]
    )
    x, y, near = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    scale = size / (2 * half_width)
    for i in range(count):
        px, py, pz = vertices[i, 0] - centre[0], vertices[i, 1] - centre[1], vertices[i, 2] - centre[2]
        x[i] = (px * right[0] + py * right[1] + pz * right[2] + half_width) * scale
        y[i] = (half_width - (px * up[0] + py * up[1] + pz * up[2])) * scale
        near[i] = px * direction[0] + py * direction[1] + pz * direction[2] + 10 * half_width
    visibility(x, y, near, triangles, True, depth, index)
    for i in range(count):
        column, row = int(x[i]), int(y[i])
        lit, seen = 0, 0
        for r in range(max(0, row - softness), min(size, row + softness + 1)):
            for c in range(max(0, column - softness), min(size, column + softness + 1)):
                seen += 1
                if near[i] + bias >= depth[r, c]:
                    lit += 1
        out[i] = lit / seen if seen else 1


@compiled
def soft_strips(x, y, nearness, triangles, opacity, depth, out):
    """Translucent hairs (lashes) as a coverage of each pixel, into ``out`` of shape (height, width).

    ``opacity`` is given per vertex; ``depth`` is the result of :func:`visibility`, so lids hide what lies behind.
    """
    height, width = out.shape
    out[:] = 0
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k]
        area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
        if abs(area) < 1e-9:
            continue
        left = max(0, int(np.floor(min(x[a], x[b], x[c]))))
        right = min(width * SAMPLES - 1, int(np.ceil(max(x[a], x[b], x[c]))))
        top = max(0, int(np.floor(min(y[a], y[b], y[c]))))
        bottom = min(height * SAMPLES - 1, int(np.ceil(max(y[a], y[b], y[c]))))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                wa, wb = weights_at(column + 0.5, row + 0.5, x[a], y[a], x[b], y[b], x[c], y[c])
                wc = 1 - wa - wb
                if wa >= 0 and wb >= 0 and wc >= 0:
                    near = wa * nearness[a] + wb * nearness[b] + wc * nearness[c]
                    if near * 1.002 > depth[row, column]:
                        share = wa * opacity[a] + wb * opacity[b] + wc * opacity[c]
                        out[row // SAMPLES, column // SAMPLES] += share / SAMPLES**2


@numba.njit(nogil=True, error_model="numpy", inline="always")
def bilinear(texture, u, v, channel):
    """Texture value between pixel centres, clamped at the border."""
    height, width = texture.shape[0], texture.shape[1]
    u = min(max(u - 0.5, 0.0), width - 1.001)
    v = min(max(v - 0.5, 0.0), height - 1.001)
    i, j = int(v), int(u)
    fu, fv = u - j, v - i
    top = texture[i, j, channel] * (1 - fu) + texture[i, j + 1, channel] * fu
    return top * (1 - fv) + (texture[i + 1, j, channel] * (1 - fu) + texture[i + 1, j + 1, channel] * fu) * fv


@numba.njit(nogil=True, error_model="numpy", inline="always")
def mixed(attributes, a, b, c, wa, wb, column):
    """A vertex attribute at a point of a triangle."""
    return wa * attributes[a, column] + wb * attributes[b, column] + (1 - wa - wb) * attributes[c, column]


@numba.njit(nogil=True, error_model="numpy", inline="always")
def light_from(
    px, py, face, x, y, triangles, surface, attributes, textures, masks, lip, key, key_colour, halfway, sky, ground
):
    """Linear red, green and blue of a triangle at a point; arguments as for :func:`shade`."""
    a, b, c = triangles[face]
    wa, wb = weights_at(px, py, x[a], y[a], x[b], y[b], x[c], y[c])
    # The middle of the pixel may lie outside the triangle that a sample hit.
    wa = min(max(wa, -0.5), 1.5)
    wb = min(max(wb, -0.5), 1.5)
    nx = mixed(attributes, a, b, c, wa, wb, NORMAL)
    ny = mixed(attributes, a, b, c, wa, wb, NORMAL + 1)
    nz = mixed(attributes, a, b, c, wa, wb, NORMAL + 2)
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    nx, ny, nz = nx / length, ny / length, nz / length
    occlusion = mixed(attributes, a, b, c, wa, wb, OCCLUSION)
    arriving = mixed(attributes, a, b, c, wa, wb, VISIBLE)
    arriving = min(max(arriving, 0.0), 1.0)
    occlusion = min(max(occlusion, 0.0), 1.0)
    u = mixed(attributes, a, b, c, wa, wb, UV)
    v = mixed(attributes, a, b, c, wa, wb, UV + 1)
    kind = surface[face]
    texture = textures[kind]
    r, g, bl = bilinear(texture, u, v, 0), bilinear(texture, u, v, 1), bilinear(texture, u, v, 2)
    gloss = bilinear(texture, u, v, 3)
    wrap = 0.0
    if kind == 0:
        wrap = 1.0
        mu = mixed(attributes, a, b, c, wa, wb, MASK_UV)
        mv = mixed(attributes, a, b, c, wa, wb, MASK_UV + 1)
        if 0 < mu < masks.shape[1] and 0 < mv < masks.shape[0]:
            share = bilinear(masks, mu, mv, 0)
            r += share * (lip[0] - r)
            g += share * (lip[1] - g)
            bl += share * (lip[2] - bl)
            gloss += share * (lip[3] - gloss)
    facing = nx * key[0] + ny * key[1] + nz * key[2]
    w_red, w_green, w_blue = 0.1 + 0.25 * wrap, 0.1 + 0.12 * wrap, 0.1 + 0.07 * wrap
    sky_share = 0.5 + 0.5 * ny
    # A shadow edge is red for the same reason that the terminator is.
    lit_red = max(0.0, (facing + w_red) / (1 + w_red)) * arriving ** (1 - 0.35 * wrap)
    lit_green = max(0.0, (facing + w_green) / (1 + w_green)) * arriving
    lit_blue = max(0.0, (facing + w_blue) / (1 + w_blue)) * arriving
    r *= key_colour[0] * lit_red + occlusion * (ground[0] + sky_share * (sky[0] - ground[0]))
    g *= key_colour[1] * lit_green + occlusion * (ground[1] + sky_share * (sky[1] - ground[1]))
    bl *= key_colour[2] * lit_blue + occlusion * (ground[2] + sky_share * (sky[2] - ground[2]))
    half = max(0.0, nx * halfway[0] + ny * halfway[1] + nz * halfway[2])
    if kind == 1:
        glint = 1.6 * gloss * half**160
    else:
        rim = (1 - max(0.0, nz)) ** 4
        glint = gloss * (0.09 * half**12 + 0.16 * half**48 + 0.12 * rim * occlusion)
    glint *= 0.3 + 0.7 * arriving
    return r + glint * key_colour[0], g + glint * key_colour[1], bl + glint * key_colour[2]


@compiled
def shade(
    x, y, triangles, surface, attributes, depth, index, lashes, textures, masks, lip, lash_colour, key, key_colour,
    sky, ground, background, tone, noise, shift, out,
):  # fmt: skip
    """Colours of a frame from the visible triangles.

    Skin scatters light under its surface: the key light wraps round the form, red most, which gives the warm edge
    of a shadow. Where the samples of a pixel meet different surfaces, the colours are mixed by the number of samples.

    Parameters
    ----------
    x, y
        Vertex positions in samples.
    triangles, surface
        The mesh and, per triangle, the texture to use: 0 skin, 1 eye, 2 teeth, 3 tongue, 4 hair.
    attributes
        Per vertex, float32, shape (n_vertices, ATTRIBUTES).
    depth, index
        Of :func:`visibility`, shape (height * SAMPLES, width * SAMPLES).
    lashes
        Coverage by lashes, shape (height, width).
    textures
        Tuple of float32 textures, shape (h, w, 4): linear red, green, blue and gloss (0 to 1).
    masks, lip
        Where the lips are (0 to 1), shape (h, w), and their linear colour and gloss, shape (4,).
    lash_colour, key, key_colour, sky, ground
        Linear colours, and the unit vector to the key light, in camera axes, shape (3,) each.
    background
        Linear colours, float32, shape (height, width, 3).
    tone
        8-bit value for linear light 0 to 1, float32, shape (n,).
    noise, shift
        A tile of sensor noise in 8-bit units, larger than the frame, and the row and column it starts at.
    out
        Filled with RGB, uint8, shape (height, width, 3).

    References
    ----------
    Blinn, "Models of light reflection for computer synthesized pictures", SIGGRAPH 1977.
    """
    height, width = lashes.shape
    steps = tone.shape[0] - 1
    halfway = key + np.array([0.0, 0.0, 1.0])
    halfway /= np.sqrt((halfway**2).sum())
    faces = np.empty(SAMPLES**2, np.int64)
    counts = np.empty(SAMPLES**2, np.int64)
    nears = np.empty(SAMPLES**2, np.float32)
    for row in range(height):
        for column in range(width):
            layers, empty = 0, 0
            for i in range(SAMPLES):
                for j in range(SAMPLES):
                    face = index[row * SAMPLES + i, column * SAMPLES + j]
                    if face < 0:
                        empty += 1
                        continue
                    near = depth[row * SAMPLES + i, column * SAMPLES + j]
                    known = False
                    for layer in range(layers):
                        same = faces[layer] == face or (
                            surface[faces[layer]] == surface[face] and abs(nears[layer] / near - 1) < 0.004
                        )
                        if same:
                            counts[layer] += 1
                            known = True
                            break
                    if not known:
                        faces[layers], counts[layers], nears[layers] = face, 1, near
                        layers += 1
            red = empty * background[row, column, 0]
            green = empty * background[row, column, 1]
            blue = empty * background[row, column, 2]
            for layer in range(layers):
                r, g, bl = light_from(
                    (column + 0.5) * SAMPLES, (row + 0.5) * SAMPLES, faces[layer], x, y, triangles, surface, attributes,
                    textures, masks, lip, key, key_colour, halfway, sky, ground,
                )  # fmt: skip
                red += counts[layer] * r
                green += counts[layer] * g
                blue += counts[layer] * bl
            share = min(lashes[row, column], 0.85)
            grain = noise[row + shift[0], column + shift[1]]
            red = (1 - share) * red / SAMPLES**2 + share * lash_colour[0]
            green = (1 - share) * green / SAMPLES**2 + share * lash_colour[1]
            blue = (1 - share) * blue / SAMPLES**2 + share * lash_colour[2]
            out[row, column, 0] = min(max(tone[int(min(max(red, 0.0), 1.0) * steps)] + grain, 0.0), 255.0)
            out[row, column, 1] = min(max(tone[int(min(max(green, 0.0), 1.0) * steps)] + grain, 0.0), 255.0)
            out[row, column, 2] = min(max(tone[int(min(max(blue, 0.0), 1.0) * steps)] + grain, 0.0), 255.0)
